# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers as people and peers write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.call.ids import Address
from bridge.call.rules import NumberFormat
from bridge.numbers import (
    dialled,
    from_sip,
    international,
    is_canonical,
    meanings,
    national,
    read_address,
    read_number,
    shorten,
    without_code,
    written,
)


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("+12025550123", "US", "tel:+12025550123"),
        ("+1 (202) 555-0123", "DE", "tel:+12025550123"),
        ("tel:+1-202-555-0123", "US", "tel:+12025550123"),
        ("TEL:+12025550123;phone-context=example.org", "US", "tel:+12025550123"),
        ("2025550123", "US", "tel:+12025550123"),
        ("12025550123", "US", "tel:+12025550123"),
        ("202.555.0123", "US", "tel:+12025550123"),
        ("202\u2011555\u20110123", "US", "tel:+12025550123"),
        ("011 44 20 7946 0123", "US", "tel:+442079460123"),
        ("0044 20 7946 0123", "DE", "tel:+442079460123"),
        ("030 23125 012", "DE", "tel:+493023125012"),
        ("020 7946 0123", "GB", "tel:+442079460123"),
        ("100", "US", "tel:100"),
        ("112", "DE", "tel:112"),
        ("100", "DE", "tel:100"),
        ("2345", "DE", "tel:2345"),
        ("999", "GB", "tel:999"),
        ("911", "US", "tel:911"),
        ("*43", "US", "tel:*43"),
        ("*21*2025550123#", "US", "tel:*21*2025550123#"),
        ("\uff12\uff10\uff12 555 0123", "US", "tel:+12025550123"),
        ("\uff0b\uff11 \uff12\uff10\uff12\u3000555\uff0d0123", "US", "tel:+12025550123"),
        ("\uff11\uff10\uff10", "US", "tel:100"),
        ("\uff0a\uff14\uff13\uff03", "US", "tel:*43#"),
        ("\u0662\u0660\u0662\u0665\u0665\u0665\u0660\u0661\u0662\u0663", "US", "tel:+12025550123"),
        ("\u202a+1\u00a0202\u2011555\u20110123\u202c", "US", "tel:+12025550123"),
        ("*86", "US", "tel:*86"),
        ("[202] 555 0123", "US", "tel:+12025550123"),
        ("(+1) 202 555 0123", "US", "tel:+12025550123"),
        ("+44 (0)20 7946 0123", "US", "tel:+442079460123"),
        ("0044 20 7946 0123", "US", "tel:+442079460123"),
        ("0012025550123", "JP", "tel:+12025550123"),
        ("00999", "US", "tel:00999"),
        ("447700900123", "US", "tel:447700900123"),
        ("tel:%2B12025550123", "US", "tel:+12025550123"),
        ("tel://+12025550123", "US", "tel:+12025550123"),
        ("tel:555-0123;phone-context=+1-202", "DE", "tel:+12025550123"),
        ("tel:+12025550123;phone-context=+44", "DE", "tel:+12025550123"),
        ("tel:100;isub=1;phone-context=pbx.example.org", "US", "tel:100"),
    ],
)
def test_reads_a_number_as_its_region_dials_it(text: str, region: str, expected: str) -> None:
    assert read_number(text, region) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "door",
        "alice2025550123",
        "+",
        "()",
        "+1",
        "call 2025550123",
        "tel:",
        "2025550123 x",
    ],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    assert read_number(text, "US") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip:door@pbx.example.org", "sip:door@pbx.example.org"),
        ("SIPS:Door@PBX.Example.org:5060;transport=tls", "sip:Door@pbx.example.org"),
        ("door@pbx.example.org:5070", "sip:door@pbx.example.org:5070"),
        ("sip:100@pbx.example.org", "sip:100@pbx.example.org"),
        ("sip:+12025550123@gw.example.com;user=phone", "tel:+12025550123"),
        ("sip:do%6Fr:secret@[2001:db8::1]", "sip:door@[2001:db8::1]"),
        ("sip:a%20b@pbx.example.org", "sip:a%20b@pbx.example.org"),
        ("(202) 555-0123", "tel:+12025550123"),
        ("\uff53\uff49\uff50\uff1adoor\uff20pbx.example.org", "sip:door@pbx.example.org"),
        ("+1 202 555 0123 ext. 5", "tel:+12025550123"),
        ("+12025550123x55#", "tel:+12025550123"),
        ("202-555-0123,,5", "tel:+12025550123"),
        ("2025550123 extension 5", "tel:+12025550123"),
    ],
)
def test_reads_an_address(text: str, expected: str) -> None:
    assert read_address(text, "US") == expected


@pytest.mark.parametrize(
    "text",
    [
        "sip:",
        "sip:pbx.example.org",
        "sip:@pbx.example.org",
        "a@b c",
        "a@",
        "mailto:x",
        "2025550123 x",
        "2025550123 x5 y",
        "x5",
        "a" * 600 + "@pbx.example.org",
        " " * 600 + "2025550123",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert read_address(text, "US") is None


@pytest.mark.parametrize(
    ("user", "host", "expected"),
    [
        ("+12025550123", "gw.example.com", "tel:+12025550123"),
        ("%2B12025550123", "gw.example.com", "tel:+12025550123"),
        ("2025550123;npdi", "gw.example.com", "tel:+12025550123"),
        ("100", "pbx.example.org", "tel:100"),
        ("Door", "PBX.example.org", "sip:Door@pbx.example.org"),
        ("", "", "sip:anonymous@anonymous.invalid"),
        ("anonymous", "anonymous.invalid", "sip:anonymous@anonymous.invalid"),
    ],
)
def test_a_sip_user_part_becomes_an_address(user: str, host: str, expected: str) -> None:
    assert from_sip(user, host, "US") == expected


@given(st.text())
def test_reading_is_stable(text: str) -> None:
    """What was read once reads as itself: there is one canonical form."""
    address = read_address(text, "US")
    if address is not None:
        assert read_address(address, "US") == address


@pytest.mark.parametrize(
    ("address", "canonical"),
    [
        ("tel:+12025550123", True),
        ("tel:100", True),
        ("tel:*43", True),
        ("tel:12025550123", False),
        ("tel:01144701234567", False),
        ("tel:+911", False),
        ("tel:+00447012345678", False),
        ("sip:door@pbx.example.org", True),
        ("sip:door@[::1]", True),
        ("sip:door@pbx.example.org;transport=tcp", False),
        ("sip:door@pbx.example.com;p=@pbx.example.org", False),
        ("sip:door@pbx.example.com?p=@pbx.example.org", False),
        ("sip:do\r\nor@pbx.example.org", False),
    ],
)
def test_a_disguise_is_no_address(address: str, canonical: bool) -> None:
    assert is_canonical(Address(address), "US") is canonical


@given(
    st.text(),
    st.sampled_from(["pbx.example.org", "192.0.2.1", "[2001:db8::1]", "anonymous.invalid"]),
)
def test_who_calls_can_be_called_back(user: str, host: str) -> None:
    assert is_canonical(from_sip(user, host, "US"), "US")


@given(st.text(), st.text())
def test_any_sip_peer_gets_an_address(user: str, host: str) -> None:
    assert from_sip(user, host, "US").startswith(("tel:", "sip:"))


def test_numbers_are_shown_for_people() -> None:
    number = Address("tel:+12025550123")
    assert international(number) == "+1 202-555-0123"
    assert national(number, "US") == "(202) 555-0123"
    assert national(number, "DE") == "+1 202-555-0123"
    assert international(Address("tel:100")) == "100"
    assert national(Address("sip:door@pbx.example.org"), "US") == "door@pbx.example.org"
    assert international(Address("tel:+")) == "+"


def test_dialled_is_what_goes_into_a_request_uri() -> None:
    assert dialled(Address("tel:+12025550123")) == "+12025550123"
    assert dialled(Address("sip:door@pbx.example.org")) == "door@pbx.example.org"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tel:+12025550123", "tel:…23"),
        ("sip:2025550123@pbx.example.org", "sip:…23@pbx.example.org"),
        ("@sip_12025550123:example.org", "@sip_…23:example.org"),
        ("tel:+12025550123 -> tel:+12025550199", "tel:…23 -> tel:…99"),
        ("tel:911", "tel:911"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_logs_see_the_last_two_digits(text: str, expected: str) -> None:
    assert shorten(text) == expected


@pytest.mark.parametrize(
    ("dialled", "meant"),
    [
        ("+12025550123", {"+12025550123"}),
        ("1-202-555-0123", {"12025550123", "+12025550123"}),
        ("100", {"100"}),
        ("9911", {"9911", "911", "11"}),
        ("919005550123", {"+19005550123"}),
        ("9011442079460123", {"+442079460123"}),
        ("*6719005550123", {"+19005550123"}),
        ("#31#+19005550123", {"+19005550123"}),
        ("*21*19005550123#", {"+19005550123"}),
        ("0019005550123", {"+19005550123"}),
        ("447700900123", {"+447700900123"}),
    ],
)
def test_what_a_trunk_may_take_digits_for(dialled: str, meant: set[str]) -> None:
    assert meant <= meanings(dialled, "US", ("0", "9"))


@pytest.mark.parametrize("name", ["", "door", "door9", "alice+1900", "a*67", "09" * 100])
def test_a_name_means_no_number(name: str) -> None:
    assert meanings(name, "US", ("0", "9")) == frozenset()


def test_without_outside_lines_digits_mean_what_they_say() -> None:
    assert meanings("9911", "US") == {"9911"}


@given(st.text(alphabet="0123456789*#+ ", max_size=40))
def test_meanings_end(dialled: str) -> None:
    assert all(one.strip() for one in meanings(dialled, "US", ("0", "9", "*", "00")))


@pytest.mark.parametrize(
    ("number", "style", "region", "shown"),
    [
        ("+12025550123", NumberFormat.E164, "US", "+12025550123"),
        ("+12025550123", NumberFormat.PLAIN, "US", "12025550123"),
        ("+12025550123", NumberFormat.NATIONAL, "US", "2025550123"),
        ("+12025550123", NumberFormat.INTERNATIONAL, "US", "01112025550123"),
        ("+442079460123", NumberFormat.NATIONAL, "US", "011442079460123"),
        ("+442079460123", NumberFormat.NATIONAL, "GB", "02079460123"),
        ("+442079460123", NumberFormat.INTERNATIONAL, "GB", "00442079460123"),
        ("+12025550123", NumberFormat.INTERNATIONAL, "DE", "0012025550123"),
        ("+12025550123", NumberFormat.INTERNATIONAL, "AU", "001112025550123"),
        ("+12025550123", NumberFormat.INTERNATIONAL, "BR", "0012025550123"),
        ("+12025550123", NumberFormat.INTERNATIONAL, "ZZ", "0012025550123"),
        ("100", NumberFormat.NATIONAL, "US", "100"),
        ("*43#", NumberFormat.PLAIN, "US", "*43#"),
        ("", NumberFormat.PLAIN, "US", ""),
    ],
)
def test_numbers_are_written_as_a_trunk_wants_them(
    number: str, style: NumberFormat, region: str, shown: str
) -> None:
    assert written(number, style, region) == shown


@pytest.mark.parametrize(
    ("address", "bare", "hides"),
    [
        ("tel:*672025550123", "tel:+12025550123", True),
        ("tel:*67+12025550123", "tel:+12025550123", True),
        ("tel:#31#*822025550123", "tel:*822025550123", True),
        ("tel:*82 (202) 555-0123", "tel:+12025550123", False),
        ("tel:*67100", "tel:100", True),
        ("tel:*67", "tel:*67", None),
        ("tel:*6", "tel:*6", None),
        ("tel:+12025550123", "tel:+12025550123", None),
        ("sip:*672025550123@pbx.test", "sip:*672025550123@pbx.test", None),
    ],
)
def test_codes_in_front_of_a_number(address: str, bare: str, hides: bool | None) -> None:
    found = without_code(Address(address), "US", ("*67", "#31#"), ("*82",))
    assert found == (bare, hides)
