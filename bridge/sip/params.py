# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into pjsua2's calls, and what comes out of its callbacks."""

from collections.abc import Iterator, Mapping

import pjsua2 as pj

from bridge.sip.messages import Message, parse


def audio_only() -> pj.CallOpParam:
    """For an offer that has one audio stream, and neither video nor real-time text."""
    prm = pj.CallOpParam(True)
    prm.opt.audioCount = 1
    prm.opt.videoCount = 0
    prm.opt.textCount = 0
    return prm


def header_list(headers: Mapping[str, str]) -> Iterator[pj.SipHeader]:
    """Headers by name, as pjsua2 takes them."""
    for name, value in headers.items():
        header = pj.SipHeader()
        header.hName, header.hValue = name, value
        yield header


def add_headers(prm: pj.CallOpParam, headers: Mapping[str, str]) -> None:
    """Have a request or a response carry more headers."""
    for header in header_list(headers):
        prm.txOption.headers.append(header)


def message_in(event: pj.SipEvent) -> Message | None:
    """The message whose arrival is the event."""
    if event.type == pj.PJSIP_EVENT_RX_MSG:
        return parse(event.body.rxMsg.rdata.wholeMsg)
    if event.type != pj.PJSIP_EVENT_TSX_STATE:
        return None
    change = event.body.tsxState
    return parse(change.src.rdata.wholeMsg) if change.type == pj.PJSIP_EVENT_RX_MSG else None
