# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a call in words: how it went, what was agreed on and why, and what helps."""

from dataclasses import replace

import pytest

from bridge.call.causes import Cause
from bridge.call.commands import Attempt
from bridge.call.ids import Address, Direction, TrunkName
from bridge.call.outcomes import Outcome, outcome_of
from bridge.records import CallRecord, LadderEntry, QualitySample
from bridge.web import verdict
from bridge.web.charts import charts_of
from bridge.web.descriptions import agreement_of
from bridge.web.rungs import since
from tests.web.office import BUSY, DOWN, FAILED, LIVE, REFUSED, START, heard, record, rung


def words(of: CallRecord) -> str:
    return " ".join(verdict.sentences(of))


def test_how_a_call_went() -> None:
    assert words(record()) == (
        "@pat:example.org called +12025550123 by trunk provider. It rang after 0.9 s. "
        "It was answered after 6.1 s. They talked for 1:05. "
        "It was ended by the telephone's side: normal."
    )
    assert words(LIVE).endswith("It was answered after 5.0 s.")
    assert words(BUSY).endswith(
        "It never rang. It was ended by the telephone's side: busy (486). "
        "The person was told: \u201cThe line is busy.\u201d"
    )
    assert "Trunk backup could not carry it: congestion (503)." in words(DOWN)
    unseen = Attempt(trunk=TrunkName("door"), cause="no_common_codec", status=488, video=True)
    assert "Trunk door could not carry it with video: no common codec (488)." in words(
        record(attempts=(unseen,))
    )
    assert words(FAILED).startswith("+12025550144 called @pat:example.org by trunk provider.")
    assert "The person was told" not in words(FAILED)
    assert words(replace(REFUSED, detail="limits.forbidden")).endswith("limits.forbidden.")
    unanswered = record(answered_at=None, cause="no_answer", status=480)
    assert "It was never answered." in words(unanswered)
    odd = record(cause="of a later version", direction=Direction.TO_MATRIX, person="")
    assert words(odd).startswith("+12025550123 called nobody here")
    assert words(odd).endswith("of a later version (200).")
    assert verdict.outcome(odd) is None
    assert verdict.advice(odd) == ""


def test_a_call_that_voicemail_took() -> None:
    taken = record(
        direction=Direction.TO_MATRIX,
        cause="voicemail",
        statistics={"matrix_packets_received": 0, "sip_packets_received": 250},
    )
    assert "Voicemail answered after 6.1 s. The caller was there for 1:05." in words(taken)
    assert verdict.in_short(taken) == "voicemail (200)"
    said, unsaid = replace(taken, message_s=12.4), replace(taken, message_s=0.0)
    assert "The caller was there for 1:05, and left a message of 0:12." in words(said)
    assert verdict.in_short(said) == "voicemail (200), message of 0:12"
    assert "and left no message." in words(unsaid)
    assert verdict.in_short(unsaid) == "voicemail (200), no message"
    assert list(verdict.unheard(taken)) == []
    silent = replace(taken, statistics={"mode": "relay"})
    assert list(verdict.unheard(silent)) == ["No audio came from the telephone."]


def test_a_flood_is_told_as_one() -> None:
    flood = record(
        person="",
        direction=Direction.TO_MATRIX,
        address="sip:192.0.2.7",
        trunk="",
        rang_at=None,
        answered_at=None,
        ended_at=START + 10,
        cause="stranger",
        status=403,
        ended_by="bridge",
        times=412,
        source="192.0.2.7",
        detail="the first one: 100 dialled 123",
    )
    assert words(flood) == (
        "412 calls within 0:10 from 192.0.2.7, all refused alike. "
        "They were ended by the bridge: stranger (403), 412 times. "
        "The first one: 100 dialled 123."
    )
    many = replace(flood, address=Address(""), source="", trunk=TrunkName("pbx"))
    assert "from several addresses by trunk pbx" in words(many)
    assert verdict.ends(many) == ("several addresses", "nobody here")
    assert "peers" in verdict.advice(many)


def test_what_went_wrong_comes_with_what_helps() -> None:
    ours = {Outcome.TRUNK, Outcome.MEDIA, Outcome.HOMESERVER}
    for cause in Cause:
        if outcome_of(cause) in ours:
            assert verdict.advice(record(cause=cause.value)), cause
    assert verdict.advice(record()) == ""
    assert verdict.advice(LIVE) == ""


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3725, "1:02:05")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert verdict.duration(seconds) == shown


def test_long_calls_need_no_milliseconds() -> None:
    assert (since(0, 99.9994), since(0, 3600.04), since(10, 9.5)) == (
        "+99.999 s",
        "+3600.0 s",
        "-0.500 s",
    )


# --- descriptions ----------------------------------------------------------------------------


def sdp(*codecs: str) -> str:
    lines = [f"a=rtpmap:{number} {codec}" for number, codec in enumerate(codecs, 100)]
    numbers = " ".join(str(number) for number in range(100, 100 + len(codecs)))
    return "\r\n".join(["v=0", f"m=audio 9 RTP/AVP {numbers}", *lines, ""])


def said(client: str = "", telephone: str = "") -> list[LadderEntry]:
    return [
        rung(0, "matrix", "in", "m.call.invite", f"call_id: 1\n{client}"),
        rung(1, "sip", "in", "200 OK (INVITE)", f"SIP/2.0 200 OK\r\n\r\n{telephone}"),
        rung(2, "bridge", "", "something", sdp("none/1")),
    ]


OPUS, PCMU = "opus/48000/2", "PCMU/8000"


@pytest.mark.parametrize(
    ("client", "telephone", "chosen", "mode", "why"),
    [
        ((OPUS, PCMU), (PCMU,), (PCMU, PCMU), "relay", "Both sides use PCMU"),
        ((OPUS,), (PCMU,), (OPUS, PCMU), "transcode", "no codec in common (opus; PCMU)"),
        ((OPUS, PCMU), (PCMU,), (OPUS, PCMU), "transcode", "one had answered before"),
        ((OPUS,), (PCMU,), None, "", "the client knows opus, the telephone PCMU."),
        ((OPUS, PCMU), (PCMU,), None, "", "Nothing was agreed on, although both know PCMU."),
        ((OPUS,), (), None, "", "not both sides have said what they can."),
    ],
)
def test_why_audio_goes_as_it_goes(
    client: tuple[str, ...],
    telephone: tuple[str, ...],
    chosen: tuple[str, str] | None,
    mode: str,
    why: str,
) -> None:
    entries = said(sdp(*client), sdp(*telephone) if telephone else "")
    if chosen:
        entries.append(rung(3, "media", "", f"media connected: {chosen[0]}, {chosen[1]}"))
    agreement = agreement_of(record(statistics={}), entries)
    assert agreement.mode == mode
    assert why in agreement.why
    assert [each.codecs for each in agreement.matrix] == [
        tuple(each.removesuffix("/2") for each in client)
    ]


def test_the_chosen_codec_is_marked_and_telephone_events_are_no_codec() -> None:
    offer = sdp("opus/48000", "telephone-event/8000", "G722/8000") + "m=video 9 X 1\r\n"
    figures: dict[str, int | float | str] = {"matrix_codec": "opus/48000/2", "sip_codec": PCMU}
    agreement = agreement_of(record(statistics=figures), said(offer))
    (description,) = agreement.matrix
    assert description.codecs == ("opus/48000", "G722/8000")
    assert [line.text for line in description.lines if line.chosen] == ["a=rtpmap:100 opus/48000"]
    assert agreement.sip == ()


def test_without_audio_there_are_no_codecs() -> None:
    (description,) = agreement_of(record(), said("v=0\r\ns=-\r\n")).matrix
    assert description.codecs == ()


# --- charts ----------------------------------------------------------------------------------


def test_a_curve_for_each_direction() -> None:
    mos, lost, jitter = charts_of(START, heard())
    assert [curve.side for curve in mos.curves] == ["matrix", "sip"]
    assert (mos.curves[1].least, mos.curves[1].last) == (3.2, 4.1)
    assert mos.curves[0].path.startswith("M")
    assert mos.curves[0].path.count("L") == 12
    assert lost.ticks[-1].label == "5"
    assert jitter.curves[1].most == 28
    assert charts_of(START, []) == []


def test_what_was_not_measured_is_not_drawn_and_one_point_is_seen() -> None:
    one, other = heard(5)
    silent = QualitySample(at=one.at, side=one.side, flow=replace(one.flow, packets=0, mos=None))
    mos, *_ = charts_of(START, [silent, other])
    assert mos.curves[0].path == ""
    assert mos.curves[1].path.endswith("h1")


def test_worse_than_the_scale_makes_the_scale_longer() -> None:
    one, other = heard(5)
    late = QualitySample(at=one.at, side=one.side, flow=replace(one.flow, jitter_ms=900.0))
    *_, jitter = charts_of(START, [late, other])
    assert jitter.ticks[-1].label == "900"
