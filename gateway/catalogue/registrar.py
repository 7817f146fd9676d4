"""The changes an operator may make to the experts while the gateway runs.

Each is checked on the newest records, written on the condition that nobody else wrote meanwhile, and in effect here
when its call returns; in other processes within a second. Changes of one process are made one after the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from experts.config import ExpertConfig
from experts.errors import ConfigError
from experts.store import ABSENT, VersionConflict
from experts.types import ExpertName
from gateway.catalogue import fusing, measured
from gateway.catalogue.catalogue import Catalogue
from gateway.catalogue.consequences import Consequences
from gateway.catalogue.records import (
    CHANGED,
    FILE,
    REGISTERED,
    Entry,
    Written,
    body_of,
    expert_config,
    key_of,
    merged,
    restored,
)
from gateway.catalogue.references import check_change
from gateway.errors import ExpertExists, ExpertInFile, InvalidRequest, UnknownExpert, VersionMismatch
from gateway.upstreams import Upstreams

ATTEMPTS = 10
ROUTING_SECONDS = 5.0
"""Longest wait of a call until the router knows what was changed; it goes on learning after that."""
SEEN_BY_ALL_SECONDS = 1.0
"""What a drained expert is left at least: by then every process knows, and decisions under way have been made."""
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Removed:
    """How a removal went: calls still running here (they go on), and whether the file's expert is back."""

    in_flight: int
    back: Entry | None


class Registrar:
    """Makes changes. Everything it is given is borrowed.

    Args:
        roles: the experts that the configuration gives a task to, by its key.
        launches: whether servers may be started here: not where several workers would each do so.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        consequences: Consequences,
        upstreams: Upstreams,
        roles: Mapping[str, ExpertName],
        *,
        launches: bool = True,
    ) -> None:
        self._catalogue, self._consequences = catalogue, consequences
        self._upstreams, self._roles, self._launches = upstreams, roles, launches
        self._changing = asyncio.Lock()

    async def checked(self, written: Written) -> ExpertConfig:
        """Return a new expert's configuration, all checks passed, nothing written.

        Raises:
            InvalidRequest: a field is wrong; `param` names it.
            ExpertExists: there is one of that name.
        """
        config = expert_config(written, self._catalogue.environment)
        if (known := await self._catalogue.current(config.name)) is not None:
            where = "is in the configuration file" if known.source == FILE else "is registered"
            raise ExpertExists(f"Expert '{config.name}' {where} already: PUT or PATCH changes it.", param="name")
        await self._check(Entry(config, written, REGISTERED), None)
        return config

    async def register(self, written: Written) -> Entry:
        """Add an expert.

        Raises:
            InvalidRequest, ExpertExists: see `checked`.
            StoreError: it could not be kept.
        """
        async with self._changing:
            config = await self.checked(written)
            await self._begin_to_run(Entry(config, written, REGISTERED), None)
            try:
                entry = await self._write(Entry(config, written, REGISTERED), None)
            except VersionConflict as error:
                self._consequences.settling.ask()
                raise ExpertExists(f"Expert '{config.name}' is registered already.", param="name") from error
        await self._in_effect(entry)
        return entry

    async def replace(self, name: ExpertName, written: Written, version: int | None = None) -> Entry:
        """Say all of an expert anew.

        Args:
            version: what its record must still be at; None replaces any.

        Raises:
            UnknownExpert, InvalidRequest, VersionMismatch, StoreError.
        """
        return await self._change(name, lambda _: written, version)

    async def patch(self, name: ExpertName, patch: Mapping[str, Any], version: int | None = None) -> Entry:
        """Change an expert by a JSON merge patch of its record; see `replace`."""
        return await self._change(name, lambda former: merged(former, patch), version)

    async def drain(self, name: ExpertName, version: int | None = None) -> Entry:
        """Ask an expert nothing new; what runs goes on."""
        return await self._turn(name, True, version)

    async def resume(self, name: ExpertName, version: int | None = None) -> Entry:
        """Put an expert back into service."""
        return await self._turn(name, False, version)

    async def remove(self, name: ExpertName, drain_seconds: float, version: int | None = None) -> Removed:
        """Take an expert out of routing at once, wait until its calls have ended, at most so long, and remove it.

        One that the file also speaks of is not drained: it is then as the file says.

        Raises:
            UnknownExpert, ExpertInFile, ExpertInUse, VersionMismatch, StoreError.
        """
        begun = time.monotonic()
        entry = await self._known(name, version)
        if entry.source == FILE:
            raise ExpertInFile(f"Expert '{name}' is in the configuration file: take it out there, or drain it.")
        if entry.source == REGISTERED:
            self._check_references(name, None)
            entry = await self._turn(name, True, entry.version) if drain_seconds else entry
            await self._idle(name, begun, drain_seconds)
        await self._delete(entry)
        return Removed(self._consequences.in_flight(name), self._catalogue.entries.get(name))

    async def _change(self, name: ExpertName, change: Any, version: int | None) -> Entry:
        for _ in range(ATTEMPTS):
            async with self._changing:
                former = await self._known(name, version)
                written = restored(change(former.written), former.written)
                config = expert_config(written, self._catalogue.environment)
                if config.name != name:
                    raise InvalidRequest(f"name: '{name}' cannot be renamed.", param="name")
                fresh = Entry(config, written, former.source, former.version, former.drained)
                await self._check(fresh, former)
                await self._begin_to_run(fresh, former)
                try:
                    entry = await self._write(fresh, former)
                except VersionConflict:
                    continue
            await self._in_effect(entry)
            return entry
        raise VersionMismatch(f"Expert '{name}' was changed by others {ATTEMPTS} times in a row; try again.")

    async def _turn(self, name: ExpertName, drained: bool, version: int | None) -> Entry:
        for _ in range(ATTEMPTS):
            async with self._changing:
                former = await self._known(name, version)
                if former.drained == drained:
                    return former
                try:
                    if not drained and self._says_no_more(former):
                        return await self._forgotten(former)
                    return await self._write(replace(former, drained=drained), former)
                except VersionConflict:
                    continue
        raise VersionMismatch(f"Expert '{name}' was changed by others {ATTEMPTS} times in a row; try again.")

    def _says_no_more(self, entry: Entry) -> bool:
        """Say whether a record, once it is not drained, only repeats the file."""
        return entry.source == CHANGED and entry.written == self._catalogue.file[entry.name].written

    async def _forgotten(self, entry: Entry) -> Entry:
        key = key_of(entry.name)
        await self._catalogue.store.delete(key, expected=entry.version)
        self._catalogue.forgot(key)
        return self._catalogue.entries[entry.name]

    async def _known(self, name: ExpertName, version: int | None) -> Entry:
        """Return an expert as it is now.

        Raises:
            UnknownExpert: there is none.
            VersionMismatch: it is not at the version wanted.
        """
        entry = await self._catalogue.current(name)
        if entry is None:
            known = ", ".join(self._catalogue.entries)
            raise UnknownExpert(f"There is no expert '{name}'; there are {known}.", param="name")
        if version not in (None, entry.version):
            raise VersionMismatch(f"Expert '{name}' is at version {entry.version}, not {version}: read it again.")
        return entry

    async def _check(self, entry: Entry, former: Entry | None) -> None:
        """Check what a record's own fields do not say: its addresses, and whom it names."""
        known = [] if former is None else [replica.base_url for replica in former.config.replicas]
        for number, replica in enumerate(entry.config.replicas):
            if replica.base_url not in known:
                await self._upstreams.check(replica, f"replicas.{number}.base_url")
        self._check_references(entry.name, entry)

    def _check_references(self, name: ExpertName, fresh: Entry | None) -> None:
        before = self._catalogue.entries
        after = {key: entry for key, entry in before.items() if key != name}
        if fresh is not None:
            after[name] = fresh
        elif name in self._catalogue.file:
            after[name] = self._catalogue.file[name]
        check_change(before, after, name, self._roles)

    async def _begin_to_run(self, entry: Entry, former: Entry | None) -> None:
        """Have the runtime begin to run it: what it cannot run it refuses, and nothing has been changed."""
        if not runs_here(entry.config) and (former is None or not runs_here(former.config)):
            return
        if entry.config.launch is not None and not self._launches:
            raise InvalidRequest("Several workers would each start this server; run it, name its URL.", param="launch")
        others = [each.config for each in self._catalogue.registry.snapshot.values() if each.name != entry.name]
        try:
            await self._catalogue.runtime.settle(self._consequences.wish([*others, entry.config]))
        except ConfigError as error:
            place = "launch" if entry.config.launch else "adapter"
            raise InvalidRequest(str(error), param=place) from error

    async def _write(self, entry: Entry, former: Entry | None) -> Entry:
        expected = ABSENT if former is None else former.version
        body = body_of(entry.written, entry.drained)
        self._catalogue.took(await self._catalogue.store.put(key_of(entry.name), body, expected=expected))
        return self._catalogue.entries[entry.name]

    async def _in_effect(self, entry: Entry) -> None:
        """Wait until an expert's servers were asked whether they are there, and the router knows of it."""
        expert = self._catalogue.registry.snapshot.get(entry.name)
        if expert is not None:
            await asyncio.gather(
                self._consequences.probe(expert), self._consequences.routing.caught_up(ROUTING_SECONDS)
            )

    async def _idle(self, name: ExpertName, begun: float, seconds: float) -> None:
        """Wait until an expert has no calls, at most so long, and at least until every process knows."""
        while (passed := time.monotonic() - begun) < seconds:
            if passed > SEEN_BY_ALL_SECONDS and not self._consequences.in_flight(name):
                return
            await asyncio.sleep(min(POLL_SECONDS, seconds))

    async def _delete(self, entry: Entry) -> None:
        async with self._changing:
            self._check_references(entry.name, None)
            await self._catalogue.store.delete(key_of(entry.name), expected=entry.version)
            self._catalogue.forgot(key_of(entry.name))
        if entry.source == REGISTERED:
            for key in (measured.key_of(entry.name), fusing.key_of(entry.name)):
                await self._catalogue.store.delete(key)
                self._catalogue.forgot(key)


def runs_here(config: ExpertConfig) -> bool:
    """Say whether a runtime may have to do something for an expert."""
    return config.launch is not None or config.adapter is not None
