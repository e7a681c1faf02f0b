# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold whatever happens: checked for every command that the core gives, in every test."""

import math
from collections import Counter

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.deadlines import Timeouts
from bridge.call.ids import CallId, LegId, MatrixCallKey, OpId, PartyId, Side

_ONCE = (c.RecordStart, c.RecordRinging, c.RecordAnswer, c.RecordEnd, c.RecordStatistics)


class MatrixCallAudit:
    """One Matrix call, as its room sees it."""

    def __init__(self) -> None:
        self.sent: Counter[type] = Counter()
        self.over = False
        self.perhaps_over = False
        """The person said something that may have ended it, depending on who said it when."""
        self.negotiates = False
        self.party: PartyId | None = None

    def hear(self, event: e.MatrixCallEvent) -> None:
        match event:
            case e.MatrixInviteReceived():
                if not self.sent:  # What came before may have been too late to count.
                    self.over = False
                    self.party = event.sender.party
                self.negotiates |= event.capabilities.negotiate
            case e.MatrixAnswerReceived():
                self.negotiates |= event.capabilities.negotiate
            case e.MatrixNegotiateReceived():
                self.negotiates = True
            case e.MatrixHangupReceived() if event.sender.party == self.party:
                self.over = True
            case e.MatrixHangupReceived() | e.MatrixRejectReceived():
                self.perhaps_over = True
            case e.MatrixSelectAnswerReceived():
                self.perhaps_over = True

    def say(self, command: c.SendCallEvent) -> None:
        kind = type(command)
        assert not self.over, f"{kind.__name__} after the end"
        self.sent[kind] += 1
        if kind in (c.SendMatrixInvite, c.SendMatrixAnswer):
            assert self.sent[kind] == 1, f"{kind.__name__} sent twice"
        if kind in (c.SendMatrixReject, c.SendMatrixSelectAnswer, c.SendMatrixNegotiate):
            assert command.version == 1, f"{kind.__name__} is not for v0"
        if isinstance(command, c.SendMatrixSelectAnswer):
            assert self.sent[kind] == 1, "two parties were selected"
            self.party = command.selected
        if kind is c.SendMatrixNegotiate:
            assert self.negotiates, "negotiate to a client that hangs up on it"
        if kind is c.SendMatrixReject:
            assert not self.sent[c.SendMatrixInvite], "only an invite of theirs is rejected"
            assert not self.sent[c.SendMatrixAnswer], "only what was not answered is rejected"
        if kind is c.SendMatrixHangup and command.version == 1:
            # matrix-js-sdk ignores the hangup of a callee that has not answered.
            assert self.sent[c.SendMatrixInvite] or self.sent[c.SendMatrixAnswer]
        self.over = kind in (c.SendMatrixReject, c.SendMatrixHangup)


class SipLegAudit:
    """One dialog, as the far end sees it."""

    def __init__(self, *, ours: bool) -> None:
        self.ours = ours
        self.answered = False
        self.acknowledged = ours
        self.gone = False
        self.rang = False
        self.redirected = False
        self.sent: Counter[type] = Counter()
        self.cancelled_at = math.inf

    def hear(self, event: e.SipEvent, now: float) -> None:
        # Once the transaction has timed out, there is nobody to hear a 200.
        timed_out = now >= self.cancelled_at + Timeouts().end
        if isinstance(event, e.SipAnswered) and self.ours and not timed_out:
            self.answered = True
        if isinstance(event, e.SipProgressed) and event.status == 180 and not self.gone:
            self.rang = True
        if isinstance(event, e.SipConfirmed) and self.answered:
            self.acknowledged = True
        if isinstance(event, e.SipCancelled) and not self.ours and not self.answered:
            self.sent[c.RejectSip] += 1  # The stack answers 487.
        if isinstance(event, e.SipEnded):
            self.gone = True
            self.redirected |= bool(event.contacts)

    def say(self, command: c.SipCommand, now: float, *, forced: bool) -> None:
        kind = type(command)
        name = kind.__name__
        assert not self.gone, f"{name} after the end"
        assert not self.sent[c.ByeSip], f"{name} after BYE"
        assert not self.sent[c.RejectSip], f"{name} after a refusal"
        self.sent[kind] += 1
        if kind in (c.SendSipInvite, c.AnswerSip, c.RejectSip, c.CancelSip):
            assert self.sent[kind] == 1, f"{name} twice"
        if kind is c.CancelSip:
            assert self.ours
            assert not self.answered, "CANCEL after the 200"
            self.cancelled_at = now
        elif kind is not c.ByeSip:
            assert not self.sent[c.CancelSip], f"{name} after CANCEL"
        if kind is c.AnswerSip:
            assert not self.ours
            self.answered = True
        if kind is c.RejectSip:
            assert not self.ours
            assert not self.answered, "refused after the 200"
        if kind in (c.SendSipKey, c.AskSipForPicture, c.AskSipIfThere):
            assert self.answered, f"{name} without a dialog"
            assert self.acknowledged, f"{name} before the ACK"
        if kind is c.ByeSip:
            assert self.answered, "BYE without a dialog"
            assert self.acknowledged or forced, "BYE before the ACK"

    @property
    def is_ended(self) -> bool:
        cancelled = self.sent[c.CancelSip] and not self.answered
        return self.gone or bool(self.sent[c.ByeSip] or self.sent[c.RejectSip] or cancelled)


class Audit:
    """Sees every event and every command."""

    def __init__(self) -> None:
        self.now = 0.0
        self.matrix: dict[MatrixCallKey, MatrixCallAudit] = {}
        self.sip: dict[LegId, SipLegAudit] = {}
        self.placed: dict[CallId, list[LegId]] = {}
        """The legs by which a call was placed, one trunk after the other."""
        self.ops: set[OpId] = set()
        self.reinvites: set[tuple[LegId, OpId]] = set()
        self.notified: set[tuple[LegId, OpId]] = set()
        """REFERs of the far end whose outcome was told."""
        self.media: dict[CallId, Counter[type]] = {}
        self.records: dict[CallId, list[type]] = {}
        self.beside: dict[CallId, CallId] = {}
        """Calls without a client, and whose SIP peers they talk to."""

    def hear(self, event: e.Event) -> None:
        """An event is about to be handled."""
        if isinstance(event, e.MatrixMemberLeft):
            for key, call in self.matrix.items():
                call.perhaps_over |= key.room == event.room
        if isinstance(event, e.MatrixCallEvent):
            self.matrix.setdefault(event.key, MatrixCallAudit()).hear(event)
        if isinstance(event, e.SipInviteReceived):
            self.sip.setdefault(event.leg, SipLegAudit(ours=False))
        if isinstance(event, e.SipEvent) and event.leg in self.sip:
            self.sip[event.leg].hear(event, self.now)

    def say(self, command: c.Command, *, forced: bool = False) -> None:
        """A command was given; `forced` by a deadline."""
        op = getattr(command, "op", None)
        theirs = c.AnswerSipReinvite | c.RejectSipReinvite | c.NotifySip
        if op is not None and not isinstance(command, theirs):
            assert op not in self.ops, "an operation id was used twice"
            self.ops.add(op)
        match command:
            case c.SendCallEvent():
                key = MatrixCallKey(command.room, command.call_id)
                self.matrix.setdefault(key, MatrixCallAudit()).say(command)
            case c.SipCommand():
                self._say_sip(command, forced=forced)
            case c.MediaCommand():
                self._say_media(command)
            case c.StoreCommand():
                self._record(command)

    def _say_sip(self, command: c.SipCommand, *, forced: bool) -> None:
        if isinstance(command, c.SendSipInvite):
            assert command.leg not in self.sip
            before = [self.sip[leg] for leg in self.placed.setdefault(command.call, [])]
            # One that was answered may be followed by its successor (a transfer).
            settled = all(leg.gone or leg.answered for leg in before)
            assert settled, "two trunks carry one call"
            rang = [leg for leg in before if leg.rang and not (leg.redirected or leg.answered)]
            assert not rang, "who rang is called again"
            self.placed[command.call].append(command.leg)
            self.sip[command.leg] = SipLegAudit(ours=True)
        if isinstance(command, c.NotifySip):
            about = (command.leg, command.op)
            assert about not in self.notified, "NOTIFY after the last one"
            if command.status >= 200:
                self.notified.add(about)
        if isinstance(command, c.AnswerSipReinvite | c.RejectSipReinvite):
            done = (command.leg, command.op)
            assert done not in self.reinvites, "a re-INVITE was answered twice"
            self.reinvites.add(done)
        self.sip[command.leg].say(command, self.now, forced=forced)

    def _say_media(self, command: c.MediaCommand) -> None:
        seen = self.media.setdefault(command.call, Counter())
        assert not seen[c.CloseMedia], f"{type(command).__name__} after CloseMedia"
        if not seen:
            assert isinstance(command, c.OfferMedia | c.JoinMedia | c.BridgeMedia), (
                "no session to do that in"
            )
        if isinstance(command, c.BridgeMedia):
            assert not seen[c.BridgeMedia], "a client's place was taken twice"
            self.beside[command.call] = command.other
        if isinstance(command, c.OfferMedia) and command.call in self.beside:
            assert command.side is Side.SIP or not command.sdp, "there is no client to say this"
        if isinstance(command, c.PlayAudio | c.RecordAudio | c.EndAudio):
            answered = c.RecordAnswer in self.records[command.call]
            assert answered, "nobody is there to hear or to speak"
            assert command.side is Side.SIP
        seen[type(command)] += 1

    def _record(self, command: c.StoreCommand) -> None:
        seen = self.records.setdefault(command.call, [])
        assert seen or isinstance(command, c.RecordStart)
        if isinstance(command, _ONCE):
            assert type(command) not in seen, f"{type(command).__name__} twice"
        if isinstance(command, c.RecordRinging):
            assert c.RecordAnswer not in seen, "it rings after it was answered"
        if isinstance(command, c.VoicemailCommand):
            self._record_voicemail(command, seen)
        elif c.RecordEnd in seen:
            assert isinstance(command, c.RecordStatistics)
        seen.append(type(command))

    def _record_voicemail(self, command: c.VoicemailCommand, seen: list[type]) -> None:
        kept = c.KeepVoicemail in seen
        settled = c.PostVoicemail in seen or c.DropVoicemail in seen
        if isinstance(command, c.KeepVoicemail):
            assert c.RecordAnswer in seen, "nobody can speak yet"
            assert c.RecordEnd not in seen
            assert not kept
        else:
            assert kept
            assert not settled, "a recording was settled twice"

    def all_is_over(self) -> None:
        """Nothing is left that anybody believes in."""
        for call, other in self.beside.items():
            # Or it waits for its person, at whom the other rings.
            assert self.beside.get(other, call) == call, f"{call} was put through to nobody"
        for key, matrix in self.matrix.items():
            assert matrix.over or matrix.perhaps_over or not matrix.sent, f"{key} was left alone"
        for leg, sip in self.sip.items():
            assert sip.is_ended, f"{leg} was left alone"
        for call, media in self.media.items():
            assert media[c.CloseMedia] == 1, f"the media of {call} was left open"
        for records in self.records.values():
            assert c.RecordEnd in records
