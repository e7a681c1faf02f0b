# SPDX-License-Identifier: GPL-3.0-or-later
"""What is changed in pjproject's source where no setting of it does the same.

The bridge has the audio elsewhere, and thousands of calls and ended dialogs: what pjsua keeps for
each of them counts. Its SRTP is left out by `pjsua2_recipe.CONFIGURE`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from scripts.steps import StepError


@dataclass(frozen=True, slots=True)
class Change:
    """A text that a file has once, and what it becomes."""

    file: str
    before: str
    after: str


_AUDIO = "pjsip/src/pjsua-lib/pjsua_aud.c"
_CALLS = "pjsip/src/pjsua-lib/pjsua_call.c"
_SENDING = "pjsip/src/pjsip/sip_transport.c"

# A stream would have a codec, a jitter buffer and a port at the switch board, of which 36 kB went
# into the dialog; nothing ever passed through it.
_NO_STREAM = Change(
    _AUDIO,
    """\
    si->rtcp_sdes_bye_disabled = pjsua_var.media_cfg.no_rtcp_sdes_bye;

    /* Check if no media is active */
    if (local_sdp->media[strm_idx]->desc.port != 0) {
""",
    """\
    si->rtcp_sdes_bye_disabled = pjsua_var.media_cfg.no_rtcp_sdes_bye;

    /* The audio is elsewhere. */
    if (0 && local_sdp->media[strm_idx]->desc.port != 0) {
""",
)

# Whether an INVITE's offer can be answered is tried with descriptions that nobody needs afterwards,
# 40 kB of them; they were kept until the next change of the session.
_TRIED_IN_PASSING = (
    Change(
        _CALLS,
        """\
    pjmedia_sdp_session *answer;   \x20
    int err_code = 0;
""",
        """\
    pjmedia_sdp_session *answer;
    /* What is made here is gone with the request. */
    pj_pool_t *pool = rdata ? rdata->tp_info.pool : call->inv->pool_prov;
    int err_code = 0;
""",
    ),
    Change(
        _CALLS,
        "        status = create_temp_sdp(call->inv->pool_prov, offer, &answer);\n",
        "        status = create_temp_sdp(pool, offer, &answer);\n",
    ),
    Change(
        _CALLS,
        """\
                                                call->async_call.dlg->pool,
                                                offer, &answer, sip_err_code);
""",
        """\
                                                pool,
                                                offer, &answer, sip_err_code);
""",
    ),
    Change(
        _CALLS,
        """\
                                           call->inv->pool_prov, &options,\x20
""",
        """\
                                           pool, &options,
""",
    ),
)

# A message keeps its text for as long as it may have to be sent again: the ACK of a call that was
# placed, and the INVITE, for as long as the call lasts. Each had a buffer for the longest message.
_NO_MORE_THAN_THE_TEXT = Change(
    _SENDING,
    """\
    /* Allocate buffer if necessary. */
    if (tdata->buf.start == NULL) {
        PJ_USE_EXCEPTION;

        PJ_TRY {
            tdata->buf.start = (char*)\x20
                               pj_pool_alloc(tdata->pool, PJSIP_MAX_PKT_LEN);
        }
        PJ_CATCH_ANY {
            return PJ_ENOMEM;
        }
        PJ_END

        tdata->buf.cur = tdata->buf.start;
        tdata->buf.end = tdata->buf.start + PJSIP_MAX_PKT_LEN;
    }

    /* Do we need to reprint? */
    if (!pjsip_tx_data_is_valid(tdata)) {
        pj_ssize_t size;

        size = pjsip_msg_print( tdata->msg, tdata->buf.start,\x20
                                tdata->buf.end - tdata->buf.start);
        if (size < 0) {
            return PJSIP_EMSGTOOLONG;
        }
        pj_assert(size != 0);
        tdata->buf.cur[size] = '\\0';
        tdata->buf.cur += size;
    }
""",
    """\
    /* Do we need to reprint? */
    if (!pjsip_tx_data_is_valid(tdata)) {
        char printed[PJSIP_MAX_PKT_LEN];
        pj_ssize_t size = pjsip_msg_print(tdata->msg, printed, sizeof(printed));

        if (size < 0) {
            return PJSIP_EMSGTOOLONG;
        }
        if (tdata->buf.end - tdata->buf.start <= size) {
            PJ_USE_EXCEPTION;

            PJ_TRY {
                tdata->buf.start = (char*)
                                   pj_pool_alloc(tdata->pool, size + 1);
            }
            PJ_CATCH_ANY {
                return PJ_ENOMEM;
            }
            PJ_END

            tdata->buf.end = tdata->buf.start + size + 1;
        }
        pj_memcpy(tdata->buf.start, printed, size);
        tdata->buf.cur = tdata->buf.start + size;
        *tdata->buf.cur = '\\0';
    }
""",
)

_INTERFACE = "pjsip-apps/src/swig/pjsua2.i"

# Of the classes whose name begins like this nothing is wrapped for Python: half of what there was
# to compile, and to load at each start.
_LEFT_OUT = Change(
    _INTERFACE,
    '%include "symbols.i"\n',
    """\
%include "symbols.i"
%rename("$ignore", regextarget=1, %$isclass) "^(pj::)?(AudDevInfo|AudioDev|AudioMedia|Codec|\
Container|ExtraAudio|Jbuf|Json|Math|MediaFormat|Persistent|Pres|Rtcp|Srtp|Ssl|Stream|Tone|Vid|\
Window).*";
""",
)
_LISTS = ("StringVector", "SipHeaderVector", "AuthCredInfoVector")

CHANGES = (_NO_STREAM, *_TRIED_IN_PASSING, _NO_MORE_THAN_THE_TEXT, _LEFT_OUT)


def apply(tree: Path) -> None:
    """Change the source tree; raises StepError when a version has another text there."""
    for change in CHANGES:
        path = tree / change.file
        text = path.read_text()
        if text.count(change.before) != 1:
            raise StepError(f"{change.file} has not the text that is to be changed there")
        path.write_text(text.replace(change.before, change.after))


def leave_out_lists(tree: Path) -> None:
    """Wrap few lists for Python: for each there would be 80 kB of C++."""
    interface = tree / _INTERFACE
    lines = interface.read_text().splitlines(keepends=True)
    kept = (
        line
        for line in lines
        if not (found := re.match(r"%template\((\w+)\)", line)) or found[1] in _LISTS
    )
    interface.write_text("".join(kept))
