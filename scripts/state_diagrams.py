# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws the state machines of bridge/call, from their tables, into the page that explains them.

python -m scripts.state_diagrams
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from bridge.call.deadlines import DEADLINES
from bridge.call.states import (
    MATRIX_ENDS,
    SIP_ENDS,
    STEPS,
    MatrixState,
    MediaState,
    Message,
    RenegotiationState,
    SipState,
    State,
    SuccessionState,
    Table,
)
from bridge.call.tables import MATRIX, MEDIA, RENEGOTIATION, SIP, SUCCESSION
from bridge.call.voicemail_states import VOICEMAIL, VoicemailState

PAGE = Path(__file__).resolve().parent.parent / "docs" / "discussion" / "state-machines.md"

_DRAWN: Mapping[str, tuple[Table, tuple[State, ...]]] = {
    "matrix": (MATRIX, (MatrixState.PREPARING, MatrixState.INVITED)),
    "sip": (SIP, (SipState.IDLE, SipState.INVITED, SipState.INVITED_OFFERLESS)),
    "media": (MEDIA, (MediaState.NONE,)),
    "renegotiation": (RENEGOTIATION, (RenegotiationState.CLOSED,)),
    "succession": (SUCCESSION, (SuccessionState.NONE,)),
    "voicemail": (VOICEMAIL, (VoicemailState.WAITING,)),
}


def page(text: str) -> str:
    """The page with everything that is generated written anew."""
    for name, (table, starts) in _DRAWN.items():
        text = _replace(text, name, diagram(table, starts))
    text = _replace(text, "steps", _steps())
    text = _replace(text, "ends", _ends())
    return _replace(text, "deadlines", _deadlines())


def diagram(table: Table, starts: Iterable[State]) -> str:
    """A table as a Mermaid diagram; messages between the same two states share an arrow."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {start.value}" for start in starts]
    for state, row in table.items():
        arrows: dict[State, list[str]] = {}
        for message, following in row.items():
            arrows.setdefault(following, []).append(_words(message))
        for following, words in arrows.items():
            lines.append(f"    {state.value} --> {following.value} : {'<br>'.join(words)}")
        if not row:
            lines.append(f"    {state.value} --> [*]")
    return "\n".join([*lines, "```"])


def _steps() -> str:
    rows = [
        (matrix.value, media.value, sip.value, step.value)
        for (matrix, media, sip), step in STEPS.items()
    ]
    return _table(("Matrix leg", "media", "SIP leg", "what is due"), rows)


def _ends() -> str:
    rows = [
        (side, state.value, f"goes to `{how.value}`" if isinstance(how, State) else how.__name__)
        for side, ends in (("Matrix", MATRIX_ENDS), ("SIP", SIP_ENDS))
        for state, how in ends.items()
    ]
    return _table(("leg", "in state", "is ended by"), rows)


def _deadlines() -> str:
    machines = {
        MatrixState: "Matrix leg",
        SipState: "SIP leg",
        MediaState: "media",
        RenegotiationState: "renegotiation",
        SuccessionState: "succession",
        VoicemailState: "voicemail",
    }
    rows = [
        (machines[type(state)], state.value, deadline.value)
        for state, deadline in DEADLINES.items()
    ]
    return _table(("machine", "state", "deadline"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    ruler = tuple("---" for _ in head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ruler, *rows))


def _words(message: Message) -> str:
    if isinstance(message, tuple):
        kind, qualifier = message
        return f"{kind.__name__} ({qualifier})"
    return message.__name__


def _replace(text: str, name: str, drawn: str) -> str:
    """Put something between its markers. Raises ValueError when the page lacks them."""
    opening, closing = f"<!-- {name}: drawn -->", f"<!-- {name}: end -->"
    before, found, rest = text.partition(opening)
    _, ended, after = rest.partition(closing)
    if not found or not ended:
        raise ValueError(f"{PAGE.name} has no place for {name}: it wants {opening} and {closing}")
    return f"{before}{opening}\n\n{drawn}\n\n{closing}{after}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
