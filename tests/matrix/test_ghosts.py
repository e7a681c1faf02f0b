# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses and ghosts stand for each other one to one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.call.ids import ANONYMOUS, Address
from bridge.matrix.ghosts import MAX_USER_ID, AddressTooLongError, Ghosts, display_name

GHOSTS = Ghosts("sip_", "example.org")

# The specification's grammar of localparts, less what historical servers refuse.
LEGAL = re.compile(r"@[a-z0-9._=\-/]+:example\.org")

numbers = st.from_regex(r"tel:\+[0-9]{1,15}", fullmatch=True)
local_numbers = st.from_regex(r"tel:[0-9*#]{1,20}", fullmatch=True)
sip_addresses = st.builds("sip:{}@{}".format, st.text(max_size=12), st.text(max_size=12))
addresses = st.one_of(numbers, local_numbers, sip_addresses).map(Address)


@pytest.mark.parametrize(
    ("address", "user"),
    [
        ("tel:+12025550123", "@sip_12025550123:example.org"),
        ("tel:100", "@sip_tel.100:example.org"),
        ("tel:*43#", "@sip_tel.=2a43=23:example.org"),
        ("sip:door@pbx.example.org", "@sip_door=40pbx.example.org:example.org"),
        ("sip:Door@pbx.example.org:5070", "@sip_=44oor=40pbx.example.org=3a5070:example.org"),
        ("sip:tel.100@pbx.example.org", "@sip_tel.100=40pbx.example.org:example.org"),
    ],
)
def test_an_address_and_its_ghost(address: str, user: str) -> None:
    assert GHOSTS.user_id(Address(address)) == user
    assert GHOSTS.address(user) == address


@given(addresses)
def test_every_address_comes_back_from_a_legal_user_id(address: Address) -> None:
    user = GHOSTS.user_id(address)
    assert LEGAL.fullmatch(user)
    assert GHOSTS.owns(user)
    assert GHOSTS.address(user) == address


@given(addresses, addresses)
def test_two_addresses_never_share_a_ghost(one: Address, other: Address) -> None:
    assert (GHOSTS.user_id(one) == GHOSTS.user_id(other)) == (one == other)


@given(st.from_regex(r"(tel\.)?([a-z0-9._\-]|=[0-9a-f]{2}|=40)+", fullmatch=True))
def test_a_localpart_is_read_only_if_it_would_be_written(rest: str) -> None:
    address = GHOSTS.address(f"@sip_{rest}:example.org")
    if address is not None:
        assert GHOSTS.user_id(address) == f"@sip_{rest}:example.org"


@pytest.mark.parametrize(
    "user",
    [
        "@alice:example.org",
        "@sip_12025550123:example.com",
        "@sip_:example.org",
        "@sip_door:example.org",
        "@sip_=61=40b:example.org",
        "@sip_tel.:example.org",
        "@sip_tel.=ff:example.org",
        "@sip_tel.=2b12025550123:example.org",
        "@sip_DOOR=40pbx:example.org",
    ],
)
def test_others_are_nobodys_ghost(user: str) -> None:
    assert GHOSTS.address(user) is None


def test_an_address_that_does_not_fit_is_refused_with_a_reason() -> None:
    address = Address(f"sip:{'a' * MAX_USER_ID}@pbx.example.org")
    with pytest.raises(AddressTooLongError, match="255 are allowed"):
        GHOSTS.user_id(address)


def test_an_address_without_a_scheme_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="not a canonical address: '…23'"):
        GHOSTS.user_id(Address("+12025550123"))


@pytest.mark.parametrize(
    ("address", "caller_name", "expected"),
    [
        ("tel:+12025550123", "", "+1 202-555-0123"),
        ("tel:+12025550123", "Reception", "Reception (+1 202-555-0123)"),
        ("tel:+12025550123", "12025550123", "+1 202-555-0123"),
        ("tel:+12025550123", " \u202eReception\x00 desk ", "Reception desk (+1 202-555-0123)"),
        ("sip:door@pbx.example.org", "Front door", "Front door (door@pbx.example.org)"),
        ("sip:door@pbx.example.org", "door@pbx.example.org", "door@pbx.example.org"),
        ("tel:100", "", "100"),
    ],
)
def test_a_ghost_is_called_what_a_person_can_read(
    address: str, caller_name: str, expected: str
) -> None:
    assert display_name(Address(address), caller_name) == expected


def test_callers_who_withhold_their_number_share_a_ghost_without_a_name() -> None:
    assert display_name(ANONYMOUS, "Reception") == "Anonymous"
    ghost = GHOSTS.user_id(ANONYMOUS)
    assert ghost == "@sip_anonymous=40anonymous.invalid:example.org"
    assert GHOSTS.address(ghost) == ANONYMOUS


def test_a_callers_name_is_cut() -> None:
    assert len(display_name(Address("tel:+12025550123"), "x" * 1000)) < 256
