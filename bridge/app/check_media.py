# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what audio needs: STUN and TURN servers, the public address, codecs."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from bridge.app.check_matrix import Refused, request
from bridge.app.media import media_settings
from bridge.app.verdicts import Doubt, NotTried
from bridge.config import Config, Media, TurnServer
from bridge.errors import BridgeError, ConfigurationError, LocalError
from bridge.media.embedded.codecs import make_decoder, make_encoder, packet_time_for, rate_for
from bridge.media.embedded.codecs.base import SAMPLE_SIZE
from bridge.media.embedded.ice_servers import IceServers, configured, named
from bridge.media.embedded.reach import relayed_at, seen_at
from bridge.media.embedded.sockets import local_address
from bridge.records import IceServer
from bridge.sdp.codecs import AUDIO_CODECS, G722

IpAddress = IPv4Address | IPv6Address
_PTIME: Final = 20
_NAT: Final = "docs/how-to/nat-and-firewall.md says what to set."


class Reached:
    """Asks STUN and TURN servers, and remembers where they see us."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._host = local_address(media_settings(config).listen, None)
        self.seen: list[IpAddress] = []

    @property
    def local(self) -> IpAddress:
        """The address that audio leaves from."""
        return ip_address(self._host)

    async def server(self, settings: TurnServer) -> str:
        """A server of the settings answers; a TURN server relays."""
        return await self._ask(configured([settings]))

    async def homeservers(self) -> str:
        """Those that the homeserver names answer, and relay."""
        token = self._config.appservice.as_token.get_secret_value()
        try:
            _, reply = await request(
                self._config, "GET", "/_matrix/client/v3/voip/turnServer", token
            )
        except Refused as error:
            raise Doubt(f"the homeserver names none: {error}", remedy=_NAT) from error
        uris = reply.get("uris")
        if not isinstance(uris, list) or not uris:
            return self._without()
        who = {key: str(reply.get(key, "")) for key in ("username", "password")}
        return await self._ask(named([IceServer(url=str(uri), **who) for uri in uris]))

    def public_address(self) -> str:
        """What peers are told is where STUN sees us."""
        return judge(self._config.media, self.local, self.seen)

    def _without(self) -> str:
        """There is no TURN server: which is well where everybody can reach us."""
        media = self._config.media
        if media.ice_servers or media.public_address or self.local.is_global:
            return "the homeserver names none"
        if self.local.is_loopback:
            return "the homeserver names none; audio stays on this machine"
        raise Doubt(
            f"none at all, and {self.local} is a private address: who is elsewhere is not heard",
            remedy="Give the homeserver a TURN server (Synapse: turn_uris), or see "
            "docs/how-to/nat-and-firewall.md.",
        )

    async def _ask(self, servers: IceServers) -> str:
        """Raises the first trouble, after every server was asked."""
        told, trouble = [], []
        for stun in servers.stun:
            try:
                told.append(self._sees(await seen_at(stun, self._host)))
            except BridgeError as error:
                trouble.append(error)
        for turn in servers.turn:
            try:
                relay = await relayed_at(turn)
            except BridgeError as error:
                trouble.append(error)
            else:
                told.append(f"{_way(turn)} relays at {relay.address}, {self._sees(relay.seen)}")
        if trouble:
            raise trouble[0]
        return "; ".join(told)

    def _sees(self, address: str) -> str:
        self.seen.append(ip_address(address))
        return f"sees us at {address}"


def _way(server: dict[str, Any]) -> str:
    return "tls" if server["turn_ssl"] else str(server["turn_transport"])


def judge(media: Media, local: IpAddress, seen: Sequence[IpAddress]) -> str:
    """Hold the address that peers are told against what STUN sees. Raises what is to be told."""
    told = media.public_address or local
    version = [each for each in seen if each.version == told.version]
    outside = [each for each in version if each.is_global]
    if told in version:
        return f"{told}, as STUN sees it"
    if not outside:
        if told.is_global:
            return f"{told} is public"
        if told.is_loopback:
            return f"{told}: nobody else is reached"
        raise NotTried(f"{told} is told, and no STUN server in another network was asked")
    if media.public_address:
        raise ConfigurationError(
            f"media.public_address is {told}, but STUN sees {outside[0]}",
            remedy=f"Set media.public_address, and that of sip.transports, to {outside[0]}; "
            "or take it out, if there is no 1:1 NAT.",
        )
    raise Doubt(
        f"this machine has {local}, and STUN sees {outside[0]}: there is a NAT in between",
        remedy=f"If all ports lead here (1:1 NAT, most clouds), set media.public_address and that "
        f"of sip.transports to {outside[0]}. {_NAT}",
    )


def codecs(config: Config) -> str:
    """Every codec of the trunks can be made and read."""
    wanted = {name for trunk in config.trunks.values() for name in trunk.codecs}
    found = [codec for codec in AUDIO_CODECS if not wanted or codec.name in wanted]
    for codec in found:
        rate = rate_for(codec, G722)
        ptime = packet_time_for(codec, _PTIME)
        silence = bytes(rate * ptime // 1000 * SAMPLE_SIZE)
        try:
            payload = make_encoder(codec, rate, ptime).encode(silence)
            make_decoder(codec, rate).decode(payload)
        except (BridgeError, OSError, ValueError) as error:
            raise LocalError(
                f"{codec} cannot be used: {error}", remedy="Install matrix-sip's requirements anew."
            ) from error
    return ", ".join(map(str, found))
