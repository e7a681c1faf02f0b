# SPDX-License-Identifier: GPL-3.0-or-later
"""As whom calls are placed: From, and the headers that say more."""

from pathlib import Path
from typing import Any

import pytest

from bridge.call.events import SipEnded
from bridge.call.ids import TrunkName
from bridge.config import Trunk
from bridge.sip.callers import ANONYMOUS, origin_of
from bridge.sip.trunks import Route
from tests.sip.phone import TRUNK, Bridge, Sipp, trunk

NUMBER = "+12025550111"
ALL = ("p_asserted_identity", "p_preferred_identity", "remote_party_id")


def route(**settings: Any) -> Route:
    return Route(TrunkName("provider"), Trunk(server="mx.test", **settings))


@pytest.mark.parametrize(
    ("number", "settings", "expected"),
    [
        (NUMBER, {}, '"Ann" <sip:+12025550111@mx.test>'),
        (NUMBER, {"username": "u"}, '"Ann" <sip:+12025550111@mx.test>'),
        (NUMBER, {"username": "u", "identity": ALL}, '"Ann" <sip:u@mx.test>'),
        (NUMBER, {"domain": "a.test"}, '"Ann" <sip:+12025550111@a.test>'),
        (NUMBER, {"domain": "a.test", "from_domain": "b.test"}, '"Ann" <sip:+12025550111@b.test>'),
        ("", {"username": "u", "caller_id": NUMBER}, '"Ann" <sip:+12025550111@mx.test>'),
        ("", {"username": "u"}, '"Ann" <sip:u@mx.test>'),
        ("", {}, '"Ann" <sip:matrix-sip@mx.test>'),
        ("a b", {}, '"Ann" <sip:a%20b@mx.test>'),
    ],
)
def test_from(number: str, settings: dict[str, Any], expected: str) -> None:
    assert origin_of(route(**settings), number, "Ann").origin == expected


def test_the_number_is_in_the_headers_that_the_trunk_wants() -> None:
    party = f'"Ann" <sip:{NUMBER}@mx.test>'
    assert origin_of(route(), NUMBER, "Ann").headers == {"P-Asserted-Identity": party}
    assert origin_of(route(identity=("from",)), NUMBER, "Ann").headers == {}
    assert origin_of(route(identity=ALL), NUMBER, "Ann").headers == {
        "P-Asserted-Identity": party,
        "P-Preferred-Identity": party,
        "Remote-Party-ID": f"{party};party=calling;screen=no;privacy=off",
    }
    assert origin_of(route(identity=ALL, username="u"), "").headers == {}


def test_who_stays_unknown_is_known_to_the_network() -> None:
    party = f'"Ann" <sip:{NUMBER}@mx.test>'
    hidden = origin_of(route(identity=("from", *ALL)), NUMBER, "Ann", withheld=True)
    assert hidden.origin == ANONYMOUS
    assert hidden.headers == {
        "P-Asserted-Identity": party,
        "P-Preferred-Identity": party,
        "Remote-Party-ID": f"{party};party=calling;screen=no;privacy=full",
        "Privacy": "id",
    }
    own = origin_of(route(username="u"), "", withheld=True)
    assert own.headers["P-Asserted-Identity"] == "<sip:u@mx.test>"
    only_from = origin_of(route(identity=("from",)), NUMBER, withheld=True)
    assert (only_from.origin, only_from.headers) == (ANONYMOUS, {"Privacy": "id"})


def test_a_from_that_the_provider_insists_on() -> None:
    account = route(username="u", anonymous_from=False, from_domain="a.test")
    assert origin_of(account, NUMBER, "Ann", withheld=True).origin == "<sip:u@a.test>"


@pytest.mark.e2e
async def test_an_anonymous_call_as_the_far_end_sees_it(tmp_path: Path) -> None:
    async with (
        Sipp("callee_refuses", tmp_path, keys={"status": "486", "cause": "17"}) as phone,
        Bridge({TRUNK: trunk(phone.port)}) as bridge,
    ):
        bridge.call(caller=NUMBER, withheld=True)
        assert (await bridge.expect(SipEnded)).status == 486
        await phone.succeeds()
        sent = phone.messages()
    assert f"From: {ANONYMOUS};tag=" in sent
    assert f"P-Asserted-Identity: <sip:{NUMBER}@127.0.0.1>" in sent
    assert "Privacy: id" in sent


@pytest.mark.e2e
async def test_a_trunk_that_is_not_registered_is_not_tried_where_another_is_left(
    tmp_path: Path,
) -> None:
    async with (
        Sipp("callee_refuses", tmp_path, keys={"status": "486", "cause": "17"}) as phone,
        Sipp("registrar_refuses", tmp_path) as registrar,
        Bridge(
            {TRUNK: trunk(registrar.port, register=True), "spare": trunk(phone.port)},
            pause=lambda failures, status: 60.0,
        ) as bridge,
    ):
        bridge.call(spare=True)
        ended = await bridge.expect(SipEnded)
        assert (ended.status, ended.reason, ended.remote) == (503, "Not registered", False)
        bridge.call(trunk=TrunkName("spare"), spare=True)
        assert (await bridge.expect(SipEnded)).status == 486
