# SPDX-License-Identifier: GPL-3.0-or-later
"""What is typed into a dial pad, against the settings."""

from pathlib import Path

import pytest

from bridge.app.dialling import dial
from bridge.app.in_force import InForce
from bridge.config import Accounts, parse
from bridge.matrix.lookups import Unreachable

IN_FORCE = InForce(
    parse(
        """
appservice: {as_token: ours, hs_token: theirs}
database: {secret_key: "a key for the secrets of one test"}
trunks:
  provider: {server: a}
outbound:
  - {prefix: "+", trunk: provider}
  - {sip_domain: pbx.example.org, trunk: provider}
numbers: {region: US, forbidden_prefixes: ["+1202555013"]}
""",
        directory=Path("/"),
    )
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("(202) 555-0123", "tel:+12025550123"),
        (" +1 202.555.0123 ", "tel:+12025550123"),
        ("tel:+1-202-555-0123", "tel:+12025550123"),
        ("+1 202 555 0123 ext. 5", "tel:+12025550123"),
        ("door@pbx.example.org", "sip:door@pbx.example.org"),
        ("sips:Door@PBX.example.org;transport=tls", "sip:Door@pbx.example.org"),
    ],
)
def test_what_leads_somewhere(text: str, address: str) -> None:
    assert dial(IN_FORCE, text) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("door", "4 characters that are no number and no SIP address"),
        ("", "0 characters that are no number and no SIP address"),
        ("911", "tel:911: emergency_number"),
        ("9-911", "tel:9911: emergency_number"),
        ("+1 900 555 0123", "tel:+19005550123: premium_number"),
        ("202 555 0130", "tel:+12025550130: forbidden_number"),
        ("100", "tel:100: no_route"),
        ("*43#", "tel:*43#: no_route"),
        ("door@example.com", "sip:door@example.com: no_route"),
        ("911@pbx.example.org", "sip:911@pbx.example.org: emergency_number"),
    ],
)
def test_what_leads_nowhere_says_why(text: str, reason: str) -> None:
    assert dial(IN_FORCE, text) == Unreachable(reason)


def test_an_account_of_ones_own_may_lead_where_no_rule_does() -> None:
    accounts = Accounts(servers=("sip.example.com",))
    in_force = InForce(IN_FORCE.config.model_copy(update={"accounts": accounts}))
    assert dial(in_force, "100") == "tel:100"
    assert dial(in_force, "911") == Unreachable("tel:911: emergency_number")
