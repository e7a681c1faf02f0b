# SPDX-License-Identifier: GPL-3.0-or-later
"""Digest against the examples of RFC 7616 section 3.9.1 and RFC 2617."""

import pytest

from bridge.sip.digest import Challenge, parse_challenge, reply

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_example_of_the_rfc(algorithm: str, response: str) -> None:
    challenge = parse_challenge(
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
        f'nonce="{NONCE}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    assert challenge
    value = reply(
        challenge,
        username="Mufasa",
        password="Circle of Life",
        method="GET",
        uri="/dir/index.html",
        cnonce=CNONCE,
    )
    assert f'response="{response}"' in value
    assert 'qop=auth, nc=00000001, cnonce="' in value
    assert 'opaque="FQhe' in value


def test_without_quality_of_protection() -> None:
    challenge = parse_challenge('digest realm="testrealm@host.com", nonce="abc"')
    assert challenge == Challenge("testrealm@host.com", "abc", "MD5", False, "")
    value = reply(
        challenge, username="u", password="p", method="BYE", uri="sip:x@mx.test", cnonce="c"
    )
    assert "qop" not in value
    assert "cnonce" not in value


@pytest.mark.parametrize(
    "value",
    [
        'Basic realm="x"',
        'Digest realm="x"',
        'Digest realm="x", nonce="n", algorithm=AKAv1-MD5',
        'Digest realm="x", nonce="n", qop="auth-int"',
        "",
    ],
)
def test_what_cannot_be_answered(value: str) -> None:
    assert parse_challenge(value) is None
