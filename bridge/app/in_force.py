# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings in force: one place hands them out, since they may change while calls go on."""

from collections.abc import Callable

import structlog

from bridge.app.policy import policy_of
from bridge.call.policy import Policy
from bridge.config import Config, checked

log = structlog.get_logger(__name__)

Layer = Callable[[Config], Config]
"""Changes some of what the file says; pure."""


def _nothing(config: Config) -> Config:
    """The layer that changes nothing."""
    return config


class InForce:
    """What counts now. Nobody keeps `config`, `policy` or parts of them: they are asked for anew.

    What has them all the same (a call that goes on, a trunk within the SIP stack) is told by
    `follow`, or keeps them on purpose.
    """

    def __init__(self, written: Config) -> None:
        self._written = written
        self._layer: Layer = _nothing
        self._config = written
        self._policy = policy_of(written)
        self._followers: list[Callable[[], None]] = []

    @property
    def config(self) -> Config:
        """The settings: the file's, with the layer over them."""
        return self._config

    @property
    def policy(self) -> Policy:
        """Who may call what, and which way, as these settings say."""
        return self._policy

    @property
    def written(self) -> Config:
        """What the file says, as far as it is in force."""
        return self._written

    def follow(self, told: Callable[[], None]) -> None:
        """Have somebody told of every change, right after it."""
        self._followers.append(told)

    def lay_over(self, layer: Layer) -> None:
        """Have `layer` change what the file says, now and whenever that is read anew.

        It takes the place of the one before. It leaves the trunks alone, which are more than
        settings, and leaves out what does not fit the file: whoever keeps it says so.
        """
        self._put(self._written, layer, layer(self._written))

    def preview(self, written: Config) -> Config:
        """What would count if the file said this. Raises `InvalidConfig`."""
        return self._layer(checked(written))

    def replace(self, written: Config) -> None:
        """Have this count instead of what the file said before. Raises `InvalidConfig`."""
        self._put(written, self._layer, self.preview(written))

    def _put(self, written: Config, layer: Layer, config: Config) -> None:
        self._policy = policy_of(config)
        self._written, self._layer, self._config = written, layer, config
        for told in self._followers:
            try:
                told()
            except Exception:
                log.exception("somebody does not follow the settings")
