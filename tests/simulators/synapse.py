# SPDX-License-Identifier: GPL-3.0-or-later
"""A Synapse homeserver on SQLite, with nothing but loopback and nothing that outlives it."""

import hashlib
import hmac
import os
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from tests.simulators.federation import PORT, Federated
from tests.simulators.processes import Child, free_port

SERVER_NAME = "mx.test"
_ROOT = Path(__file__).parents[2]
_EMPTY = _ROOT / ".cache" / "synapse"
"""Databases as Synapse makes them, which takes it three seconds; one for each version."""
_START = """
import gc
gc.disable()  # While it loads, nothing is garbage.
from synapse.app.homeserver import main
gc.enable()
main()
"""
_NO_LIMIT = {"per_second": 10000, "burst_count": 10000}


def synapse_python() -> Path:
    """The Python that Synapse is installed for: TESTS_SYNAPSE_PYTHON, or `.venv-synapse`."""
    chosen = os.environ.get("TESTS_SYNAPSE_PYTHON")
    python = Path(chosen) if chosen else _ROOT / ".venv-synapse" / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(
            f"there is no Synapse: {python} does not exist; run `make setup`, or set"
            " TESTS_SYNAPSE_PYTHON to a Python that has matrix-synapse"
        )
    return python


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user with a device."""

    user_id: str
    device_id: str
    access_token: str
    password: str

    @property
    def localpart(self) -> str:
        """The user's name without `@` and server."""
        return self.user_id[1 : self.user_id.index(":")]


def _empty() -> Path | None:
    """Where the empty database of this version is kept, if the version can be told."""
    packages = (synapse_python().parent.parent / "lib").glob("*/site-packages")
    found = [each.stem for path in packages for each in path.glob("matrix_synapse-*.dist-info")]
    return _EMPTY / f"{found[0]}.db" if found else None


def _copy_empty(database: Path) -> bool:
    """Begin with an empty database that was made before; whether there is one."""
    kept = _empty()
    if kept is None or not kept.exists():
        return False
    shutil.copy(kept, database)
    return True


def _keep_empty(database: Path) -> None:
    """Keep a database that nobody has used yet."""
    kept = _empty()
    if kept is None:
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as directory:
        copy = Path(directory) / "copy.db"
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        copy.replace(kept)


class Synapse:
    """The homeserver process and its administration."""

    def __init__(
        self,
        directory: Path,
        registrations: Sequence[Path] = (),
        port: int | None = None,
        *,
        federated: Federated | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """`federated`: it speaks with other homeservers, and is named so.

        `settings` are laid over those that every test gets.
        """
        self.directory = directory
        self.port = port or free_port()
        self.name = federated.name if federated else SERVER_NAME
        self._federated = federated
        self._secret = secrets.token_hex()
        self._registrations = registrations
        self._more = settings or {}
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Base of the client-server API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def _database(self) -> Path:
        return self.directory / "homeserver.db"

    @property
    def log(self) -> Path:
        """Synapse's own log."""
        return self.directory / "synapse.log"

    async def start(self) -> None:
        """Start it, on the data that are there, and wait until it serves."""
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "homeserver.yaml"
        config.write_text(yaml.safe_dump(self._settings()))
        (self.directory / "log.yaml").write_text(yaml.safe_dump(self._logging()))
        made = self._database.exists() or _copy_empty(self._database)
        self._child = await Child.start(
            "synapse",
            [synapse_python(), "-c", _START, "-c", config],
            log=self.directory / "synapse.out",
            cwd=self.directory,
            # Neither our module path nor our warnings filter are Synapse's business.
            env={"PYTHONPATH": "", "PYTHONWARNINGS": ""},
        )
        await self._child.listens(self.port, within=60)
        if not made:
            _keep_empty(self._database)

    async def stop(self) -> None:
        """Stop it; its data stay."""
        if self._child:
            await self._child.stop()

    async def restart(self) -> None:
        """Stop and start, as for an upgrade."""
        await self.stop()
        await self.start()

    async def register(self, name: str) -> Credentials:
        """Make a user with a password of their own; returns a device of theirs."""
        password = secrets.token_hex(4)
        url = f"{self.url}/_synapse/admin/v1/register"
        async with aiohttp.ClientSession() as http:
            async with http.get(url) as reply:
                nonce = (await reply.json())["nonce"]
            mac = hmac.new(self._secret.encode(), digestmod=hashlib.sha1)
            mac.update("\0".join((nonce, name, password, "notadmin")).encode())
            body = {
                "nonce": nonce,
                "username": name,
                "displayname": name.capitalize(),
                "password": password,
                "admin": False,
                "mac": mac.hexdigest(),
            }
            async with http.post(url, json=body) as reply:
                made = await reply.json()
        if "access_token" not in made:
            raise RuntimeError(f"Synapse did not register {name}: {made}")
        return Credentials(made["user_id"], made["device_id"], made["access_token"], password)

    async def another_device(self, of: Credentials) -> Credentials:
        """Log in once more, as on a second device."""
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": of.user_id},
            "password": of.password,
        }
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.url}/_matrix/client/v3/login", json=body) as reply,
        ):
            made = await reply.json()
        return Credentials(made["user_id"], made["device_id"], made["access_token"], of.password)

    def _settings(self) -> dict[str, object]:
        return {
            "server_name": self.name,
            "pid_file": str(self.directory / "synapse.pid"),
            "report_stats": False,
            "public_baseurl": f"{self.url}/",
            "signing_key_path": str(self.directory / "signing.key"),
            "log_config": str(self.directory / "log.yaml"),
            "media_store_path": str(self.directory / "media"),
            "database": {
                "name": "sqlite3",
                "args": {"database": str(self._database)},
            },
            "listeners": [self._listener("127.0.0.1", self.port, "client")],
            "registration_shared_secret": self._secret,
            "bcrypt_rounds": 4,
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "federation_domain_whitelist": [],
            # What nobody looks at would take an eighth of its time.
            "presence": {"enabled": False},
            "push": {"enabled": False},
            "stats": {"enabled": False},
            "update_user_directory_from_worker": "nobody",
            "send_federation": self._federated is not None,
            "macaroon_secret_key": self._secret,
            "form_secret": self._secret,
            "app_service_config_files": [str(path) for path in self._registrations],
            "experimental_features": {
                "msc2409_to_device_messages_enabled": True,
                "msc3202_transaction_extensions": True,
                "msc4354_enabled": True,
            },
            "max_event_delay_duration": "24h",
            "rc_message": _NO_LIMIT,
            "rc_registration": _NO_LIMIT,
            "rc_joins": {"local": _NO_LIMIT, "remote": _NO_LIMIT},
            "rc_joins_per_room": _NO_LIMIT,
            "rc_invites": {"per_room": _NO_LIMIT, "per_user": _NO_LIMIT, "per_issuer": _NO_LIMIT},
            "rc_login": {
                "address": _NO_LIMIT,
                "account": _NO_LIMIT,
                "failed_attempts": _NO_LIMIT,
            },
            "rc_room_creation": _NO_LIMIT,
            **self._federation(),
            **self._more,
        }

    def _federation(self) -> dict[str, object]:
        """Settings that differ where there are other homeservers."""
        if not self._federated:
            return {}
        return {
            "listeners": [
                self._listener("127.0.0.1", self.port, "client"),
                self._listener(self._federated.address, PORT, "federation") | {"tls": True},
            ],
            "tls_certificate_path": str(self._federated.certificate),
            "tls_private_key_path": str(self._federated.key),
            "federation_custom_ca_list": [str(self._federated.authority)],
            "federation_domain_whitelist": [*self._federated.others],
            "ip_range_blacklist": [],  # Loopback is all that there is.
        }

    @staticmethod
    def _listener(address: str, port: int, resource: str) -> dict[str, object]:
        return {
            "port": port,
            "type": "http",
            "bind_addresses": [address],
            "resources": [{"names": [resource], "compress": False}],
        }

    def _logging(self) -> dict[str, object]:
        return {
            "version": 1,
            "formatters": {"line": {"format": "%(asctime)s %(name)s %(levelname)s %(message)s"}},
            "handlers": {
                "file": {
                    "class": "logging.FileHandler",
                    "formatter": "line",
                    "filename": str(self.log),
                }
            },
            "root": {"level": "WARNING", "handlers": ["file"]},
            "disable_existing_loggers": False,
        }
