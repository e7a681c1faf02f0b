# SPDX-License-Identifier: GPL-3.0-or-later
"""What people have set for themselves, and what becomes of the policy's routes by that."""

from dataclasses import replace

from bridge.call.dialplan import OutboundRoute, only_by, route_out
from bridge.call.events import PersonChanged
from bridge.call.ids import Address, TrunkName, UserId
from bridge.call.inbound import route_in, rule_in
from bridge.call.machine import Effects
from bridge.call.policy import Refusal, Wishes
from bridge.call.voicemail_terms import VoicemailTerms

_NOTHING = Wishes()


class People:
    """The wishes of everybody who has any."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._wishes: dict[UserId, Wishes] = {}
        self._owners: dict[TrunkName, UserId] = {}
        self._full = False

    def change(self, event: PersonChanged) -> None:
        """A person wishes something else from now on."""
        before = self.wishes(event.person)
        if before.account is not None:
            self._owners.pop(before.account, None)
        if event.account is not None:
            self._owners[event.account] = event.person
        self._wishes[event.person] = Wishes(
            dnd=event.dnd,
            forward=event.forward,
            account=event.account,
            withhold=event.withhold,
            voicemail=event.voicemail,
            voicemail_delay=event.voicemail_delay,
            greeting=event.greeting,
        )

    def fill(self, *, full: bool) -> None:
        """Whether nothing more can be recorded for anybody."""
        self._full = full

    def voicemail(self, person: UserId) -> VoicemailTerms | None:
        """How voicemail answers for a person; None if it does not."""
        wishes, terms = self.wishes(person), self._effects.policy.voicemail
        if terms is None or not wishes.voicemail or self._full:
            return None
        delay = terms.delay if wishes.voicemail_delay is None else wishes.voicemail_delay
        return replace(terms, delay=delay, greeting=wishes.greeting or terms.greeting)

    def wishes(self, person: UserId) -> Wishes:
        """What a person has set."""
        return self._wishes.get(person, _NOTHING)

    def route_out(
        self, person: UserId, address: Address, withhold: bool | None = None
    ) -> OutboundRoute | Refusal:
        """Where a call of `person` leaves: by their own account, or else as the rules say.

        `withhold`: whether they want to stay unknown this time, if they said so.
        """
        wishes = self.wishes(person)
        wish = wishes.withhold if withhold is None else withhold
        return route_out(self._effects.policy, person, address, wishes.account, wish)

    def route_in(self, trunk: TrunkName, dialled: str) -> tuple[UserId, ...] | Refusal:
        """Whom a call rings: the owner of the account that it came by, or else by the rules."""
        return route_in(self._effects.policy, trunk, dialled, self._owners.get(trunk))

    def rule_in(self, trunk: TrunkName, dialled: str) -> str:
        """Which rule says whom a call rings; empty if none does."""
        return rule_in(self._effects.policy, trunk, dialled, self._owners.get(trunk))

    def forward(
        self, person: UserId, trunk: TrunkName, caller: Address, dialled: str
    ) -> OutboundRoute | None:
        """Where the caller is to call instead; None: the call rings.

        It is the trunk that follows, so the route has to be one of the same trunk; and it has to
        be one that `person` might call themselves.
        """
        to = self.wishes(person).forward
        if to is None or to in (caller, _address(dialled)) or self._comes_back(person, trunk, to):
            return None
        route = self.route_by(trunk, person, to)
        return route if isinstance(route, OutboundRoute) else None

    def route_by(
        self, trunk: TrunkName, person: UserId, address: Address
    ) -> OutboundRoute | Refusal:
        """How `trunk` is told to call `address` for `person`, or why it may not be."""
        rules = only_by(trunk, self._effects.policy.outbound)
        account = trunk if self._owners.get(trunk) == person else None
        return route_out(replace(self._effects.policy, outbound=rules), person, address, account)

    def route_referral(
        self, trunk: TrunkName, person: UserId, target: Address, uri: str
    ) -> OutboundRoute | Refusal:
        """Where a call leaves for which the far end asked `person`, who might place it themselves.

        By the same trunk if the target is written as a `uri` of its own, or else as the rules say.
        """
        if not uri:
            return self.route_out(person, target)
        route = route_out(self._effects.policy, person, target, trunk)
        return route if isinstance(route, Refusal) else replace(route, target=uri)

    def _comes_back(self, person: UserId, trunk: TrunkName, to: Address) -> bool:
        """Whether what is forwarded to a number of ours ends where it began.

        A rule for any number says nothing about whose a number is, and does not count.
        """
        rules = [rule for rule in self._effects.policy.inbound if rule.number != "*"]
        policy = replace(self._effects.policy, inbound=rules)
        seen: set[UserId] = set()
        following: Address | None = to
        while following is not None:
            routed = route_in(policy, trunk, following)
            # In a group, everybody rings, and nobody's forward counts.
            if isinstance(routed, Refusal) or len(routed) > 1 or routed[0] in seen:
                return False
            if routed[0] == person:
                return True
            seen.add(routed[0])
            following = self.wishes(routed[0]).forward
        return False


def _address(dialled: str) -> Address:
    return Address(dialled if ":" in dialled else f"tel:{dialled}")
