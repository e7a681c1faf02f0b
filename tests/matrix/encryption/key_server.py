# SPDX-License-Identifier: GPL-3.0-or-later
"""A homeserver's part in end-to-end encryption, in memory: devices, keys, and messages to them."""

import asyncio
import json
import logging
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote

from mautrix.api import HTTPAPI

from bridge.call.ids import UserId
from bridge.matrix.homeserver import HomeserverError, Refused

Json = dict[str, Any]


class KeyServer:
    """What the homeserver keeps; and its requests, which can be made to fail."""

    def __init__(self) -> None:
        self.made: set[tuple[str, str]] = set()
        """Devices that were made (MSC4190)."""
        self.devices: defaultdict[str, dict[str, Json]] = defaultdict(dict)
        self.one_time: defaultdict[tuple[str, str], Json] = defaultdict(dict)
        self.cross_signing: defaultdict[str, Json] = defaultdict(dict)
        self.messages: list[Json] = []
        """To-device messages as transactions carry them, not taken yet."""
        self.requests: list[str] = []
        self.failures: dict[str, HomeserverError] = {}
        """What requests whose path contains the key are answered with, once."""
        self.lost: set[str] = set()
        """Servers whose devices cannot be had."""

    def api(self, user: UserId, device: str) -> HTTPAPI:
        """Requests as this user and device."""
        return cast(HTTPAPI, _Api(self, user, device))

    def take(self, user: str, kind: str | None = None) -> list[Json]:
        """The messages for a user (of a type), which are gone then."""
        mine = [m for m in self.messages if m["to_user_id"] == user and kind in (None, m["type"])]
        self.messages = [m for m in self.messages if m not in mine]
        return mine

    def left(self, user: str, device: str) -> int:
        """How many one-time keys a device has."""
        return len(self.one_time[user, device])

    def log_out(self, user: str, device: str) -> None:
        """A device goes."""
        del self.devices[user][device]
        self.one_time.pop((user, device), None)

    async def answer(self, user: str, device: str | None, method: str, path: str, body: Any) -> Any:
        """A request, as Synapse would answer it."""
        await asyncio.sleep(0)
        self.requests.append(f"{method} {path}")
        for part in [each for each in self.failures if each in path]:
            raise self.failures.pop(part)
        if match := re.fullmatch(r"devices/(.+)", path):
            self.made.add((user, match[1]))
            return {}
        if device is not None and (user, device) not in self.made:
            raise Refused("no such device", status=400, errcode="M_EXCLUSIVE")
        name = path.split("/")[0] if "sendToDevice" in path else path
        handler = getattr(self, "_" + name.replace("/", "_"))
        return handler(user, device, body, path)

    def _keys_upload(self, user: str, device: str, body: Json, _: str) -> Json:
        if keys := body.get("device_keys"):
            self.devices[user][device] = json.loads(json.dumps(keys))
        known = self.one_time[user, device]
        for name, key in body.get("one_time_keys", {}).items():
            if known.get(name, key) != key:
                raise Refused("one-time key exists already", status=400, errcode="M_UNKNOWN")
            known[name] = key
        return {"one_time_key_counts": {"signed_curve25519": len(known)}}

    def _keys_query(self, user: str, device: str, body: Json, _: str) -> Json:
        found: Json = {"device_keys": {}, "master_keys": {}, "self_signing_keys": {}}
        for each in body["device_keys"]:
            if each.partition(":")[2] in self.lost:
                found.setdefault("failures", {})[each.partition(":")[2]] = {"status": 503}
                continue
            found["device_keys"][each] = json.loads(json.dumps(self.devices[each]))
            for usage, key in self.cross_signing[each].items():
                found.setdefault(f"{usage}s", {})[each] = key
        return found

    def _keys_claim(self, user: str, device: str, body: Json, _: str) -> Json:
        found: Json = defaultdict(dict)
        for each, devices in body["one_time_keys"].items():
            for name in devices:
                if self.one_time[each, name]:
                    found[each][name] = dict([self.one_time[each, name].popitem()])
        return {"one_time_keys": found, "failures": {}}

    def _keys_device_signing_upload(self, user: str, device: str, body: Json, _: str) -> Json:
        self.cross_signing[user].update(body)
        return {}

    def _keys_signatures_upload(self, user: str, device: str, body: Json, _: str) -> Json:
        for each, signed in body.items():
            for name, keys in signed.items():
                signatures = self.devices[each][name]["signatures"][each]
                signatures.update(keys["signatures"][each])
        return {"failures": {}}

    def _sendToDevice(self, user: str, device: str, body: Json, path: str) -> Json:
        for each, devices in body["messages"].items():
            for name, content in devices.items():
                for to in [*self.devices[each]] if name == "*" else [name]:
                    self.messages.append(
                        {
                            "type": path.split("/")[1],
                            "sender": user,
                            "content": json.loads(json.dumps(content)),
                            "to_user_id": each,
                            "to_device_id": to,
                        }
                    )
        return {}


class _Api:
    """What mautrix makes requests by."""

    base_url = "http://127.0.0.1"

    def __init__(self, server: KeyServer, user: str, device: str) -> None:
        self.as_user_id, self.as_device_id = user, device
        self.log = logging.getLogger("tests.key_server")
        self._server = server
        self._transactions = 0

    def get_txn_id(self) -> str:
        self._transactions += 1
        return f"{self.as_user_id}.{self._transactions}"

    async def request(
        self, method: Any, path: Any, content: Mapping[str, Any] | None = None, **_: Any
    ) -> Any:
        where = unquote(str(path)).removeprefix("_matrix/client/v3/")
        body = json.loads(json.dumps(content or {}))
        return await self._server.answer(
            self.as_user_id, self.as_device_id, method.name, where, body
        )
