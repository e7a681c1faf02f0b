# SPDX-License-Identifier: GPL-3.0-or-later
"""A template of workers that serves several engines: it takes a second to load."""

from bridge.media.workers.template import Template


class KeptTemplate(Template):
    """Outlives the engines that use it."""

    async def close(self) -> None:
        """An engine is done with it."""

    async def end(self) -> None:
        """Everybody is."""
        await super().close()
