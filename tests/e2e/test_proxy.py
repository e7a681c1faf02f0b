# SPDX-License-Identifier: GPL-3.0-or-later
"""A trunk that registers with Kamailio by TLS, and calls through it to a telephone and from it."""

from tests.e2e.conftest import NewMatrixPhone
from tests.e2e.stage import PROXIED, GatedStage

SUITES = {"AEAD_AES_256_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"}


async def test_calls_go_through_kamailio_both_ways(
    stage: GatedStage, new_matrix_phone: NewMatrixPhone
) -> None:
    """The proxy stays in the way of every request, and turns TLS into UDP and back."""
    person, mine = await new_matrix_phone()
    *_, register = stage.proxy.seen("REGISTER", protocol="tls")
    async with stage.phone(
        PROXIED, encrypts="srtp-mand", registrar=stage.proxied_registrar()
    ) as phone:
        await phone.registers()

        room = await mine.client.direct_room(PROXIED.ghost)
        call = await mine.call(room)
        await call.connected()
        await phone.hears(440)
        await call.voice.hears(1000)
        await call.hang_up()
        await phone.sees("CALL_CLOSED")
        record = await stage.bridge.ended(person.user_id)
        assert (record.direction, record.trunk, record.cause) == ("to_sip", "proxy", "normal")
        assert record.statistics["sip_srtp"] in SUITES

        await phone.dial(f"sip:{person.number}@{stage.proxy.domain}")
        call = await mine.rings()
        assert call.room == room
        await call.answer()
        await call.connected()
        await call.voice.hears(1000)
        await phone.hears(440)
        await phone.hang_up()
        await call.ended()
        record = await stage.bridge.ended(person.user_id, count=2)
        assert (record.direction, record.trunk, record.cause) == ("to_matrix", "proxy", "normal")
        assert record.statistics["sip_srtp"] in SUITES

    assert [each["protocol"] for each in stage.proxy.seen("BYE")] == ["tls", "udp"]
    # Each was challenged once, and went on by the connection that the bridge had made.
    assert len(stage.proxy.seen("INVITE", protocol="tls", source=register["source"])) == 2
