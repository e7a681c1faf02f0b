# SPDX-License-Identifier: GPL-3.0-or-later
"""Which number was dialled, and from which the call was forwarded."""

from typing import Any

import pytest

from bridge.call.ids import TrunkName
from bridge.config import Trunk
from bridge.sip.dialled import dialled_in, diverted_by
from bridge.sip.messages import Message, parse
from bridge.sip.trunks import Route


def route(**settings: Any) -> Route:
    return Route(TrunkName("provider"), Trunk(server="mx.test", **settings))


def invite(*headers: str, uri: str = "sip:uri@192.0.2.1", to: str = "<sip:to@mx.test>") -> Message:
    lines = [f"INVITE {uri} SIP/2.0", f"To: {to}", "From: <sip:a@mx.test>;tag=1", *headers]
    return parse("\r\n".join((*lines, "", "")))


def test_where_nothing_is_said_the_trunks_kind_decides() -> None:
    ours = route(register=True, username="u")
    assert dialled_in(route(), invite()).user == "uri"
    assert dialled_in(ours, invite()).user == "uri"
    assert dialled_in(ours, invite(uri=f"sip:u@192.0.2.1;line={ours.line}")).user == "to"
    assert dialled_in(ours, invite(uri="sip:192.0.2.1")).user == "to"
    assert dialled_in(route(), invite(to="<sip:to@mx.test>;tag=2")).user == "to"


@pytest.mark.parametrize(
    ("sources", "user"),
    [
        (("request_uri",), "uri"),
        (("to",), "to"),
        (("p_called_party_id",), "called"),
        (("diversion",), "diverted"),
        (("history_info",), "before"),
        (("history_info", "to"), "before"),
        (("to", "p_called_party_id"), "to"),
    ],
)
def test_the_trunk_says_where_it_is(sources: tuple[str, ...], user: str) -> None:
    request = invite(
        "P-Called-Party-ID: <sip:called@mx.test>",
        "Diversion: <sip:diverted@mx.test>;reason=unconditional, <sip:first@mx.test>",
        "History-Info: <sip:before@mx.test>;index=1, <sip:uri@192.0.2.1>;index=1.1;mp=1",
    )
    assert dialled_in(route(dialled_from=sources), request).user == user


def test_what_is_not_there_is_looked_for_elsewhere() -> None:
    everywhere = route(dialled_from=("p_called_party_id", "diversion", "history_info", "to"))
    assert dialled_in(everywhere, invite()).user == "to"
    nowhere = route(dialled_from=("p_called_party_id", "diversion", "history_info"))
    assert dialled_in(nowhere, invite()).user == "uri"


@pytest.mark.parametrize(
    ("headers", "user"),
    [
        ((), ""),
        (("Diversion: <tel:+12025550177>;reason=no-answer",), "+12025550177"),
        (("Diversion: <sip:last@mx.test>", "Diversion: <sip:first@mx.test>"), "last"),
        (("Diversion: <sip:last@mx.test>;privacy=full",), ""),
        (("Diversion: <sip:last@mx.test>;privacy=off",), "last"),
        (
            (
                "History-Info: <sip:first@mx.test>;index=1",
                "History-Info: <sip:second@mx.test;cause=302>;index=1.1;mp=1",
                "History-Info: <sip:uri@192.0.2.1;cause=302>;index=1.1.1;mp=1.1",
            ),
            "second",
        ),
        (
            (
                "History-Info: <sip:busy@mx.test?Reason=SIP%3Bcause%3D486>;index=1, "
                "<sip:uri@192.0.2.1>;index=1.2",
            ),
            "busy",
        ),
        (("History-Info: <sip:a@mx.test>;index=1, <sip:uri@192.0.2.1>;index=1.1;rc=1",), ""),
        (
            (
                "History-Info: <sip:a@mx.test?Privacy=history>;index=1, "
                "<sip:uri@192.0.2.1>;index=1.1;mp=1",
            ),
            "",
        ),
        (
            (
                "Diversion: <sip:last@mx.test>",
                "History-Info: <sip:a@mx.test>;index=1, <sip:b@mx.test>;index=1.1;mp=1",
            ),
            "last",
        ),
    ],
)
def test_who_forwarded_the_call(headers: tuple[str, ...], user: str) -> None:
    assert diverted_by(invite(*headers)).user == user
