# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted SIP legs: whole calls, packet by packet, with a peer that has its own SRTP."""

import asyncio
from itertools import pairwise

import pytest
from pylibsrtp import Error as SrtpError
from structlog.testing import capture_logs

from bridge.call.commands import OfferMedia
from bridge.call.events import MediaConnected, MediaFault
from bridge.call.ids import Side
from bridge.call.terms import Srtp, Terms
from bridge.media.embedded.sip_leg import BLIND
from bridge.media.embedded.srtp import receiver, sender
from bridge.sdp.sdes import KEY_LENGTHS
from tests.media.desk import Desk
from tests.media.sound import heard, tone
from tests.simulators.rtp import EVENT, Packet, RtpPeer, Sender
from tests.simulators.srtp import GCM_128, GCM_256, LONG_TAG, SHORT_TAG, Sdes
from tests.simulators.waiting import until
from tests.simulators.webrtc import CHROMIUM, WebRtcPeer

SAVP, AVP = "RTP/SAVP", "RTP/AVP"
TAGS = {
    SHORT_TAG: (4, 10),
    "AES_256_CM_HMAC_SHA1_32": (4, 10),
    GCM_128: (16, 16),
    GCM_256: (16, 16),
}
"""Bytes that SRTP and SRTCP add, where that is not ten."""
OPTIONAL, REQUIRED = (Terms(srtp=srtp) for srtp in (Srtp.OPTIONAL, Srtp.REQUIRED))


async def phone_calls(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, sdes: Sdes, protocol: str = SAVP
) -> str:
    """A call from SIP to Matrix; gives our answer."""
    sdp = phone.sdp(protocol=protocol, crypto=[sdes.line])
    offered = await desk.offer(Side.SIP, sdp, terms=OPTIONAL)
    client_answer = await client.answer(offered.sdp, knows=CHROMIUM)
    connecting = asyncio.create_task(client.connect(offered.sdp, role="client"))
    answer = await desk.answer(Side.MATRIX, client_answer)
    phone.aim(answer)
    sdes.follow(answer)
    await connecting
    await desk.event(MediaConnected)
    return answer


async def client_calls(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, terms: Terms, *, tag: int, suite: str
) -> Sdes:
    """A call from Matrix to SIP."""
    offered = await desk.offer(Side.MATRIX, await client.offer(), terms=terms)
    phone.aim(offered.sdp)
    sdes = Sdes(phone, suite, tag=tag)
    sdes.follow(offered.sdp)
    protocol = SAVP if SAVP in offered.sdp else AVP
    answer = await desk.answer(Side.SIP, phone.sdp(protocol=protocol, crypto=[sdes.line]))
    await client.connect(answer)
    await desk.event(MediaConnected)
    return sdes


class Talk:
    """What both say."""

    def __init__(self, client: WebRtcPeer) -> None:
        self.client = client.sender("PCMU")
        self.phone = Sender(0)


async def talk(client: WebRtcPeer, phone: RtpPeer, says: Talk, count: int = 50) -> None:
    """Both are heard by the other, unchanged and in order."""
    before = len(client.received.packets), len(phone.received.packets)
    to_phone, to_client = tone("PCMU", 440)[:count], tone("PCMU", 1000)[:count]
    await client.send(*says.client.packets(to_phone))
    phone.send(*says.phone.packets(to_client))
    at_phone = (await phone.received.reaches(before[1] + count))[before[1] :]
    at_client = (await client.received.reaches(before[0] + count))[before[0] :]
    assert [packet.payload for packet in at_phone] == to_phone
    assert [packet.payload for packet in at_client] == to_client
    for one, other in pairwise(at_phone):
        assert (other.sequence - one.sequence) & 0xFFFF == 1


@pytest.mark.parametrize("suite", [LONG_TAG, SHORT_TAG, GCM_128, GCM_256])
@pytest.mark.parametrize("protocol", [SAVP, AVP])
async def test_a_phone_that_encrypts_calls(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, suite: str, protocol: str
) -> None:
    await phone_calls(desk, client, phone, Sdes(phone, suite, tag=7), protocol)
    await talk(client, phone, Talk(client))
    spoken = heard("PCMU", (packet.payload for packet in client.received.packets))
    assert spoken.is_near(1000)
    statistics = await desk.hang_up()
    assert statistics["sip_srtp"] == suite
    assert "GCM" in str(statistics["matrix_srtp"])
    assert statistics["sip_undecipherable"] == 0
    assert statistics["sip_packets_received"] == statistics["sip_packets_sent"] == 50


@pytest.mark.parametrize(
    ("terms", "tag", "suite"),
    [
        (OPTIONAL, 1, GCM_256),
        (OPTIONAL, 2, LONG_TAG),
        (OPTIONAL, 3, SHORT_TAG),
        (REQUIRED, 1, GCM_256),
        (REQUIRED, 2, GCM_128),
        (REQUIRED, 4, LONG_TAG),
    ],
)
async def test_a_client_calls_a_phone_that_encrypts(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, terms: Terms, tag: int, suite: str
) -> None:
    await client_calls(desk, client, phone, terms, tag=tag, suite=suite)
    await talk(client, phone, Talk(client))
    assert (await desk.hang_up())["sip_srtp"] == suite


async def test_a_phone_that_does_not_encrypt_is_called_all_the_same(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    offered = await desk.offer(Side.MATRIX, await client.offer(), terms=OPTIONAL)
    phone.aim(offered.sdp)
    await client.connect(await desk.answer(Side.SIP, phone.sdp()))
    await desk.event(MediaConnected)
    await talk(client, phone, Talk(client))
    assert "sip_srtp" not in await desk.hang_up()


@pytest.mark.parametrize(
    ("terms", "encrypts"), [(REQUIRED, False), (Terms(), True)], ids=["required", "off"]
)
async def test_who_wants_it_otherwise_is_refused(
    desk: Desk, phone: RtpPeer, terms: Terms, encrypts: bool
) -> None:
    sdp = phone.sdp(protocol=SAVP, crypto=[Sdes(phone).line]) if encrypts else phone.sdp()
    failed = await desk.refused(
        lambda op: OfferMedia(call=desk.call, op=op, side=Side.SIP, sdp=sdp, terms=terms)
    )
    assert failed.fault is MediaFault.NOT_ENCRYPTED


@pytest.mark.parametrize(("tag", "suite"), [(1, GCM_256), (4, LONG_TAG)])
async def test_rtcp_is_encrypted_and_keys_are_pressed(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, tag: int, suite: str
) -> None:
    await client_calls(desk, client, phone, REQUIRED, tag=tag, suite=suite)
    says = Talk(client)
    await talk(client, phone, says, 5)
    phone.send(*says.phone.digit("5", EVENT))
    assert (await client.received.reaches(8, 126))[0].payload[0] == 5
    await client.send(*says.client.digit("#", 126))
    assert (await phone.received.reaches(8, EVENT))[0].payload[0] == 11
    # An empty receiver report, by the port of its own.
    phone.send_rtcp(b"\x80\xc9\x00\x01\x00\x00\x12\x34")
    await desk.hang_up()
    await until(lambda: bool(phone.received.rtcp), what="a goodbye came")
    assert phone.received.rtcp[-1][1] in (200, 201)
    statistics = desk.events[-1].statistics  # type: ignore[attr-defined]
    assert statistics["sip_undecipherable"] == 0


async def test_a_wrong_key_is_counted_and_told(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    sdes = Sdes(phone)
    answer = await phone_calls(desk, client, phone, sdes)
    sdes.follow(answer, lies=True)
    with capture_logs() as logs:
        phone.send(*Sender(0).packets([b"x" * 160] * (BLIND + 5)))
        phone.send_rtcp(b"\x80\xc9\x00\x01\x00\x00\x12\x34")
        await until(
            lambda: desk.engine_snapshot()["sip_undecipherable"] == BLIND + 6,
            what="every packet was refused",
        )
    assert [log["event"] for log in logs if "decrypted" in log["event"]] == [
        "what the SIP peer sends cannot be decrypted: it uses another key than it said"
    ]
    assert not client.received.packets
    statistics = await desk.hang_up()
    assert statistics["sip_packets_received"] == 0


async def test_plain_audio_in_an_encrypted_call_is_not_heard(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    await phone_calls(desk, client, phone, Sdes(phone))
    phone.protect = lambda data: data
    phone.send(*Sender(0).packets([b"x" * 160] * 10))
    await until(
        lambda: desk.engine_snapshot()["sip_undecipherable"] == 10,
        what="every packet was refused",
    )
    assert not client.received.packets


async def test_hold_leaves_keys_and_counters_as_they_are(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    sdes = Sdes(phone)
    answer = await phone_calls(desk, client, phone, sdes)
    says = Talk(client)  # Numbers wrap soon: the rollover counters are 1 when it is held.
    await talk(client, phone, says, 20)
    hold = phone.sdp(direction="sendonly", protocol=SAVP, crypto=[sdes.line])
    offered = await desk.offer(Side.SIP, hold)
    ours = await desk.answer(Side.MATRIX, await client.answer(offered.sdp, knows=CHROMIUM))
    assert crypto_in(ours) == crypto_in(answer)
    resume = phone.sdp(protocol=SAVP, crypto=[sdes.line])
    offered = await desk.offer(Side.SIP, resume)
    ours = await desk.answer(Side.MATRIX, await client.answer(offered.sdp, knows=CHROMIUM))
    assert crypto_in(ours) == crypto_in(answer)
    await talk(client, phone, says)
    assert (await desk.hang_up())["sip_undecipherable"] == 0


@pytest.mark.parametrize(
    ("first", "second"), [(LONG_TAG, SHORT_TAG), (GCM_256, GCM_256), (GCM_128, LONG_TAG)]
)
async def test_new_keys_within_a_call(
    long_way: list[int], desk: Desk, client: WebRtcPeer, phone: RtpPeer, first: str, second: str
) -> None:
    answer = await phone_calls(desk, client, phone, Sdes(phone, first))
    says = Talk(client)
    await talk(client, phone, says, 20)
    renewed = Sdes(phone, second)
    offered = await desk.offer(Side.SIP, phone.sdp(protocol=SAVP, crypto=[renewed.line]))
    assert crypto_in(offered.answer) != crypto_in(answer)
    # What was under way with the old key is heard yet.
    phone.send(*says.phone.packets([b"o" * 160] * 3))
    old = await client.received.reaches(23)
    assert [packet.payload for packet in old[-3:]] == [b"o" * 160] * 3
    renewed.follow(offered.answer)
    seen = len(long_way)
    await talk(client, phone, says)
    assert len(long_way) <= seen + 2  # The rest passes from socket to socket as before.
    statistics = await desk.hang_up()
    assert statistics["sip_undecipherable"] == 0
    assert statistics["sip_srtp"] == second


async def test_who_encrypts_may_be_heard_from_elsewhere(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    """A peer behind a NAT is taken on by its key; others are not, however many they send."""
    other = RtpPeer()
    stranger = RtpPeer()
    try:
        sdes = Sdes(phone)
        answer = await phone_calls(desk, client, phone, sdes)
        stranger.aim(answer)
        stranger.send(*Sender(0, ssrc=9).packets([b"no" * 80] * 20))
        await until(lambda: desk.engine_snapshot()["sip_strangers"] == 20, what="all are refused")
        other.aim(answer)
        other.protect, other.unprotect = phone.protect, phone.unprotect
        other.send(*Sender(0).packets([b"yes!" * 40] * 10))
        at_client = await client.received.reaches(6)
        assert {packet.payload for packet in at_client} == {b"yes!" * 40}
        await client.send(*client.sender("PCMU").packets([b"back" * 40]))
        assert (await other.received.reaches(1))[0].payload == b"back" * 40
        assert (await desk.hang_up())["sip_latched"] == 1
    finally:
        other.close()
        stranger.close()


@pytest.mark.parametrize("suite", sorted(KEY_LENGTHS))
def test_every_suite(suite: str) -> None:
    key = bytes(range(KEY_LENGTHS[suite]))
    ours, theirs = sender(suite, key), receiver(suite, key)
    tag, tag_of_rtcp = TAGS.get(suite, (10, 10))
    packet = Packet(0, 1, 2, 3, b"x" * 160).write()
    protected = ours.protect(packet)
    assert len(protected) == len(packet) + tag
    assert theirs.unprotect(protected) == packet
    report = b"\x80\xc9\x00\x01\x00\x00\x12\x34"
    protected_rtcp = ours.protect_rtcp(report)
    assert len(protected_rtcp) == len(report) + 4 + tag_of_rtcp
    assert theirs.unprotect_rtcp(protected_rtcp) == report
    for place in (0, 15, len(key) - 1):
        wrong = bytearray(key)
        wrong[place] ^= 1
        with pytest.raises(SrtpError):
            receiver(suite, bytes(wrong)).unprotect(protected)


def crypto_in(sdp: str) -> list[str]:
    """The lines with keys in a description."""
    return [line for line in sdp.splitlines() if line.startswith("a=crypto")]


@pytest.mark.parametrize("renews", [False, True], ids=["same key", "new key in the answer"])
async def test_the_client_holds_and_resumes(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer, renews: bool
) -> None:
    sdes = Sdes(phone)
    answer = await phone_calls(desk, client, phone, sdes)
    says = Talk(client)
    await talk(client, phone, says, 20)
    (ours,) = crypto_in(answer)
    for wanted, agreed in (("sendonly", "recvonly"), ("sendrecv", "sendrecv")):
        offered = await desk.offer(Side.MATRIX, await client.offer(direction=wanted))
        assert offered.needed
        assert crypto_in(offered.sdp) == [ours]
        said = Sdes(phone) if renews else sdes
        sdp = phone.sdp(direction=agreed, protocol=SAVP, crypto=[said.line])
        await desk.answer(Side.SIP, sdp)
        if renews:
            phone.protect = said.outgoing().protect
    await talk(client, phone, says)
    statistics = await desk.hang_up()
    assert statistics["sip_undecipherable"] == 0


async def test_a_change_that_is_refused_leaves_the_keys(
    desk: Desk, client: WebRtcPeer, phone: RtpPeer
) -> None:
    sdes = Sdes(phone)
    await phone_calls(desk, client, phone, sdes)
    says = Talk(client)
    await talk(client, phone, says, 5)
    hold = phone.sdp(direction="sendonly", protocol=SAVP, crypto=[Sdes(phone).line])
    await desk.offer(Side.SIP, hold)
    desk.roll_back()
    await talk(client, phone, says, 5)
    plain = await desk.refused(
        lambda op: OfferMedia(call=desk.call, op=op, side=Side.SIP, sdp=phone.sdp(), terms=REQUIRED)
    )
    assert plain.fault is MediaFault.NOT_ENCRYPTED
    await talk(client, phone, says, 5)
    assert (await desk.hang_up())["sip_undecipherable"] == 0
