# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a trunk's servers is used."""

from ipaddress import ip_address

from bridge.sip.lookup import Target
from bridge.sip.servers import AVOIDED, Servers

FIRST, SECOND, THIRD = (Target(ip_address(f"192.0.2.{n}"), 5060, "udp") for n in (1, 2, 3))


def test_none_is_known() -> None:
    servers = Servers()
    assert servers.best(0.0) is None
    assert len(servers) == 0


def test_one_that_failed_is_avoided_for_a_while() -> None:
    servers = Servers([FIRST, SECOND])
    assert servers.best(0.0) == FIRST
    assert servers.failed(FIRST, 0.0) == AVOIDED
    assert servers.best(AVOIDED - 1) == SECOND
    assert servers.best(AVOIDED) == FIRST


def test_one_that_fails_again_is_avoided_for_longer_until_it_works() -> None:
    servers = Servers([FIRST, SECOND])
    pauses = [servers.failed(FIRST, 0.0) for _ in range(6)]
    assert pauses == [120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0]
    servers.works(FIRST)
    assert servers.best(0.0) == FIRST
    assert servers.failed(FIRST, 0.0) == AVOIDED


def test_one_that_says_for_how_long_is_believed_within_reason() -> None:
    servers = Servers((FIRST, SECOND))
    assert servers.failed(FIRST, 0.0, 600) == 600
    servers.works(FIRST)
    assert servers.failed(FIRST, 0.0, 5) == AVOIDED
    servers.works(FIRST)
    assert servers.failed(FIRST, 0.0, 100_000) == 1800


def test_of_those_that_all_failed_the_first_to_be_tried_again() -> None:
    servers = Servers([FIRST, SECOND])
    servers.failed(SECOND, 0.0)
    servers.failed(FIRST, 1.0)
    assert servers.best(2.0) == SECOND
    assert servers.best(2.0, {SECOND}) == FIRST
    assert servers.best(2.0, {SECOND, FIRST}) is None


def test_names_that_lead_elsewhere() -> None:
    servers = Servers([FIRST, SECOND])
    servers.failed(FIRST, 0.0)
    servers.are([])
    assert servers.best(0.0) == SECOND
    servers.are([THIRD, SECOND])
    assert servers.best(0.0) == THIRD
    servers.are([FIRST])
    assert servers.failed(FIRST, 0.0) == AVOIDED
