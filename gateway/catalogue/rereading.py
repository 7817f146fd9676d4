"""The configuration file's experts follow the file while the gateway runs: when it changes, and on SIGHUP.

All of a new file holds or none of it: one that cannot be used, or that lacks an expert somebody needs, leaves all
as it was, and the log says why. Other sections are what this process was built from: they wait for a restart.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from experts.errors import ConfigError
from experts.types import ExpertName
from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.consequences import Consequences
from gateway.catalogue.records import Entry, file_entries
from gateway.catalogue.recurring import Recurring
from gateway.configuration import GatewayConfig, load_config
from gateway.logs import facts

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0


class FileReader:
    """Keeps a catalogue's file half equal to the file. Everything it is given is borrowed.

    Args:
        config: what was read at the start; without a file behind it there is nothing to do.
        roles: the experts that must stay, by what needs them.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        consequences: Consequences,
        config: GatewayConfig,
        roles: Mapping[str, ExpertName],
    ) -> None:
        self._catalogue, self._consequences = catalogue, consequences
        self._config, self._roles = config, roles
        self.reading = Recurring("reading the configuration file again", self._read)

    async def watch(self) -> None:
        """Ask for a reading whenever the file is another one than before, forever."""
        seen = _stamp(self._config.path)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = _stamp(self._config.path)
            if now is not None and now != seen:
                seen = now
                self.reading.ask()

    async def _read(self) -> None:
        path = self._config.path
        if path is None:
            return
        try:
            fresh = await asyncio.to_thread(load_config, path, self._catalogue.environment)
            changed = await self._taken(file_entries(fresh))
        except ConfigError as error:
            log.warning("the experts' file cannot be used: all stays as it was", extra=facts(error=str(error)))
            return
        log.info("the configuration file was read again", extra=facts(file=str(path), changed=changed))
        if sections := _other_sections(self._config, fresh):
            log.warning("changed sections need a restart", extra=facts(sections=sections))

    async def _taken(self, entries: Mapping[ExpertName, Entry]) -> list[ExpertName]:
        """Let new entries hold, once they can run; returns whose changed.

        Raises:
            ConfigError: they cannot; nothing has changed.
        """
        before = self._catalogue.file
        self._check_roles(entries)
        wanted = self._consequences.wish(entry.config for entry in self._catalogue.with_file(entries).values())
        await self._catalogue.runtime.settle(wanted)
        self._catalogue.file = entries
        self._catalogue.refresh()
        names = dict.fromkeys([*before, *entries])
        return [name for name in names if before.get(name) != entries.get(name)]

    def _check_roles(self, entries: Mapping[ExpertName, Entry]) -> None:
        after = self._catalogue.with_file(entries)
        for role, name in self._roles.items():
            if name not in after:
                raise ConfigError(f"{role} is '{name}', which the file no longer has: put it back, or restart.")


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """Return what changes when a file does; None while there is none."""
    try:
        found = None if path is None else os.stat(path)
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_size, found.st_ino)


def _other_sections(before: GatewayConfig, after: GatewayConfig) -> list[str]:
    sections = [name for name in GatewayConfig.model_fields if name != "experts"]
    return [name for name in sections if getattr(before, name) != getattr(after, name)]
