"""The experts there are, at this moment, in every process: the file's and the store's together, kept up to date.

A change comes from this process's own API or, by watching the store, from another's; both go the same way:

    document -> entry (`records`) -> expert (references mended, measurements laid over) -> the registry is swapped

What follows from it beside the requests is told to listeners (`consequences`). A request under way goes on in the
snapshot it began with.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from experts.errors import ConfigError
from experts.launch.runtime import Runtime
from experts.profile import FuserFigures
from experts.registry import Expert, Registry, Snapshot
from experts.store import ABSENT, Document, Store, StoreError
from experts.types import ExpertName
from gateway.catalogue import fusing, measured, records
from gateway.catalogue.records import Entry
from gateway.catalogue.references import mended
from gateway.errors import InvalidRequest
from gateway.logs import facts

log = logging.getLogger(__name__)
RETRY_SECONDS = 1.0
PREFIXES = (records.PREFIX, measured.PREFIX, fusing.PREFIX)
Listener = Callable[[Snapshot, Snapshot], None]


class Catalogue:
    """Keeps `registry` equal to the file and the store. `load` it first; `follow` keeps it so.

    Args:
        store: where records and measurements are; borrowed.
        file: what the configuration file says, by name.
        runtime: says where experts answer; borrowed.
        environment: what `${VAR}` in records stands for.
    """

    def __init__(
        self, store: Store, file: Mapping[ExpertName, Entry], runtime: Runtime, environment: Mapping[str, str]
    ) -> None:
        self.store, self.file, self.runtime, self.environment = store, file, runtime, environment
        self.entries: Mapping[ExpertName, Entry] = {}
        self.registry = Registry()
        self.listeners: list[Listener] = []
        self._documents: dict[str, Document] = {}
        self._seen: dict[str, int] = {}
        self._read: dict[str, tuple[int, Entry | None]] = {}

    async def load(self) -> None:
        """Read the store and begin to run what is ours. What the store holds, or cannot say now, stops nothing.

        Raises:
            ConfigError: what the file asks for cannot run here.
        """
        try:
            for prefix in PREFIXES:
                for document in await self.store.find(prefix):
                    self._note(document.key, document.version, document)
        except StoreError as error:
            log.warning("registered experts cannot be read", extra=facts(error=str(error)))
        self._combine()
        await self._settle_first()
        self.refresh()

    async def _settle_first(self) -> None:
        wanted = [entry.config for entry in mended(self.entries)[0].values()]
        written = [entry.config for entry in self.file.values()]
        try:
            await self.runtime.settle(wanted)
        except ConfigError as error:
            if wanted == written:
                raise
            log.warning("registered experts cannot run here", extra=facts(error=str(error)))
            await self.runtime.settle(written)

    async def follow(self, prefix: str) -> None:
        """Take over every change under a prefix, for as long as the store is open."""
        while not self.store.closed:
            try:
                after = max((seen for key, seen in self._seen.items() if key.startswith(prefix)), default=ABSENT)
                async for change in self.store.watch(prefix, after=after):
                    if self._note(change.key, change.version, change.document):
                        self.refresh()
            except StoreError as error:
                log.warning("changes of experts cannot be read", extra=facts(error=str(error)))
                await asyncio.sleep(RETRY_SECONDS)

    async def current(self, name: ExpertName) -> Entry | None:
        """Return an expert as the store has it now, not as this process last saw it.

        Raises:
            StoreError: it cannot be read.
        """
        key = records.key_of(name)
        seen = self._seen.get(key)
        document = await self.store.get(key)
        if document is not None:
            self.took(document)
        elif seen is not None and key in self._documents and self._seen[key] == seen:
            self.forgot(key)
        return self.entries.get(name)

    def took(self, document: Document) -> None:
        """Take over a document that was written or read."""
        if self._note(document.key, document.version, document):
            self.refresh()

    def forgot(self, key: str) -> None:
        """Take over that a document was removed; what a watcher still says about it is older."""
        if self._documents.pop(key, None) is not None:
            self.refresh()

    def measured(self, name: ExpertName) -> Document | None:
        """Return what was measured about an expert."""
        return self._documents.get(measured.key_of(name))

    def fusing(self, name: ExpertName) -> Document | None:
        """Return what was found about how well an expert fuses."""
        return self._documents.get(fusing.key_of(name))

    @property
    def advice(self) -> Document | None:
        """What was found to pay where answers cannot be compared."""
        return self._documents.get(fusing.ADVICE)

    def refresh(self) -> None:
        """Swap the registry for what is known now, and tell whoever listens, if that is anything new."""
        self._combine()
        kept, lost = mended(self.entries)
        for each in lost:
            log.warning("an expert names nobody", extra=facts(expert=each.by, field=each.field, names=each.name))
        before = self.registry.snapshot
        experts = [self._expert(entry) for entry in kept.values()]
        if experts == [*before.values()]:
            return
        self.registry.swap(experts)
        for listener in self.listeners:
            listener(before, self.registry.snapshot)

    def _note(self, key: str, version: int, document: Document | None) -> bool:
        """Keep what is known of a document; False when something newer is known."""
        if version <= self._seen.get(key, ABSENT):
            return False
        self._seen[key] = version
        if document is None:
            self._documents.pop(key, None)
        else:
            self._documents[key] = document
        return True

    def with_file(self, file: Mapping[ExpertName, Entry]) -> dict[ExpertName, Entry]:
        """Return every expert there would be if the file said this."""
        found = [self._entry(self._documents[key]) for key in sorted(self._documents) if key.startswith(records.PREFIX)]
        return records.laid_over(file, [entry for entry in found if entry is not None])

    def _combine(self) -> None:
        self.entries = self.with_file(self.file)

    def _entry(self, document: Document) -> Entry | None:
        """Return what a record says, read once a version; None when it cannot be used here, and the log says why."""
        known = self._read.get(document.key)
        if known is None or known[0] != document.version:
            known = self._read[document.key] = (document.version, self._read_anew(document))
        return known[1]

    def _read_anew(self, document: Document) -> Entry | None:
        try:
            return records.stored_entry(document, self.environment)
        except InvalidRequest as error:
            told = facts(key=document.key, version=document.version, error=str(error))
            log.warning("a registered expert cannot be used here", extra=told)
            return None

    def _expert(self, entry: Entry) -> Expert:
        """Return an expert with what was measured laid over."""
        config = entry.config
        if (found := self.measured(entry.name)) is not None:
            try:
                config = measured.overlaid(config, found.body)
            except InvalidRequest as error:
                log.warning("a measurement cannot be used", extra=facts(expert=entry.name, error=str(error)))
        profile = replace(config.profile(), fusing=self._fuser_figures(entry.name))
        return Expert(config, profile, self.runtime.replicas(entry.config), entry.drained)

    def _fuser_figures(self, name: ExpertName) -> FuserFigures | None:
        if (found := self.fusing(name)) is None:
            return None
        try:
            return fusing.figures_of(name, found.body)
        except InvalidRequest as error:
            log.warning("a measurement cannot be used", extra=facts(expert=name, error=str(error)))
            return None
