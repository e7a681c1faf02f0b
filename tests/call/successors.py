# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody else who is to take the far end's place."""

from bridge.call import commands as c
from bridge.call import events as e
from bridge.call.ids import Address, LegId, OpId
from tests.call.desk import CALL, OUT, Desk

TARGET = Address("tel:+12025550177")
NEXT = LegId("n-1-out-2")
ANOTHER = LegId("in-2")
REFER = OpId(-1)
ELSEWHERE = Address("tel:+12025550178")


def referred(
    desk: Desk, target: Address = TARGET, *, leg: LegId = OUT, uri: str = "", replaces: str = ""
) -> None:
    """The far end asks us to call somebody else."""
    desk.tell(
        e.SipReferReceived(
            leg=leg,
            op=REFER,
            target=target,
            uri=uri,
            replaces=replaces,
            referred_by="<sip:phone@pbx.test>",
        )
    )


def told(desk: Desk, *statuses: int) -> None:
    """The far end was told this, and nothing else was said."""
    said = desk.expect_all(*[c.NotifySip] * len(statuses))
    assert [each.status for each in said if isinstance(each, c.NotifySip)] == list(statuses)
    assert {each.op for each in said if isinstance(each, c.NotifySip)} == {REFER}


def successor_is_called(desk: Desk) -> c.SendSipInvite:
    """The engine has written an offer, which goes to the successor."""
    notify, offer = desk.expect_all(c.NotifySip, c.OfferSuccessor)
    assert isinstance(notify, c.NotifySip)
    assert isinstance(offer, c.OfferSuccessor)
    assert notify.status == 100
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to the next"))
    return desk.expect(c.SendSipInvite)


def being_called(*, leg: LegId = OUT) -> Desk:
    """The successor rings."""
    desk = Desk()
    if leg == OUT:
        desk.connected_to_the_phone()
    else:
        desk.connected_to_the_person()
    referred(desk, leg=leg)
    successor_is_called(desk)
    desk.tell(e.SipProgressed(leg=NEXT, status=180))
    told(desk, 180)
    return desk


def answers(desk: Desk) -> c.SwitchMedia:
    """The successor answers: the person learns who that is, and media goes there."""
    desk.tell(e.SipAnswered(leg=NEXT, sdp="answer of the next", refers=True))
    identity, switch = desk.expect_all(c.SendMatrixAssertedIdentity, c.SwitchMedia)
    assert isinstance(identity, c.SendMatrixAssertedIdentity)
    assert isinstance(switch, c.SwitchMedia)
    assert identity.identity == TARGET
    assert (switch.sdp, switch.offered) == ("answer of the next", False)
    return switch


def switched(desk: Desk, switch: c.SwitchMedia, *, sdp: str = "", needed: bool = False) -> None:
    desk.tell(e.MediaSwitched(call=CALL, op=switch.op, sdp=sdp, needed=needed))


def handed_on() -> Desk:
    """The person talks to the successor."""
    desk = being_called()
    switched(desk, answers(desk))
    notify, bye = desk.expect_all(c.NotifySip, c.ByeSip)
    assert isinstance(notify, c.NotifySip)
    assert (notify.status, notify.leg, bye) == (200, OUT, c.ByeSip(call=CALL, leg=OUT, q850=16))
    return desk


def points_elsewhere(desk: Desk, leg: LegId = NEXT, contact: Address = ELSEWHERE) -> None:
    desk.tell(e.SipEnded(leg=leg, status=302, contacts=(contact,)))


def elsewhere_is_called(desk: Desk) -> c.SendSipInvite:
    """The engine has written another offer, for where the successor was said to be."""
    notify, offer = desk.expect_all(c.NotifySip, c.OfferSuccessor)
    assert isinstance(notify, c.NotifySip)
    assert isinstance(offer, c.OfferSuccessor)
    assert notify.status == 181
    desk.tell(e.MediaOfferReady(call=CALL, op=offer.op, sdp="offer to elsewhere"))
    return desk.expect(c.SendSipInvite)


def catching_up(*, capable: bool = True) -> tuple[Desk, OpId]:
    """The engine writes what the client has to be offered for the successor's sake."""
    desk = Desk()
    if capable:
        desk.connected_to_the_phone()
    else:
        desk.connected_to_the_phone(capabilities=e.Capabilities())
    referred(desk)
    successor_is_called(desk)
    switched(desk, answers(desk), needed=True)
    desk.said = desk.said[2:]
    return desk, desk.expect(c.OfferMedia).op
