"""The adapters of one running vLLM server: loaded when wished, unloaded when not, swapped when places are few.

Which of them is decided in `adapters`; the effects are here. On a CPU every slot is emptied as its adapter goes:
vLLM's unloading forgets the name and keeps the weights, and a filled last slot would change the base's answers.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from experts.errors import ExpertError, ExpertOverloaded, ExpertRejected
from experts.launch.adapters import Aboard, change
from experts.launch.vllm import Adapter
from experts.registry import Replica

PATIENCE_SECONDS = 1.0
"""How long newcomers to a loaded adapter are still let by while somebody waits for a place."""


class AdapterServer(Protocol):
    """What is asked of a server; `experts.backends.VllmBackend` is one."""

    async def models(self, expert: str, replica: Replica) -> dict[str, str]: ...

    async def load_adapter(self, expert: str, replica: Replica, name: str, folder: str) -> None: ...

    async def unload_adapter(self, expert: str, replica: Replica, name: str) -> None: ...

    async def adapter_ids(self, expert: str, replica: Replica) -> set[int]: ...

    async def drop_adapter(self, expert: str, replica: Replica, number: int) -> None: ...

    async def is_sleeping(self, expert: str, replica: Replica) -> bool: ...


class Boarding:
    """Who is aboard one server. What it is given is borrowed.

    Args:
        base: the base expert, named in errors, and the name its server knows it by.
        replica: where its server answers.
        backend: how it is asked.
        frees_slots: an unloaded adapter's slot has to be emptied (a server of ours on a CPU).
        shared: somebody else's server, where adapters that we did not load are left alone.
        dozes: a server that may be in sleep mode, in which it has no memory for adapters.
    """

    def __init__(
        self,
        base: tuple[str, str],
        replica: Replica,
        backend: AdapterServer,
        *,
        frees_slots: bool = False,
        shared: bool = False,
        dozes: bool = False,
    ) -> None:
        self.refused: dict[str, str] = {}
        (self._base, self._base_name), self._replica, self._backend = base, replica, backend
        self._frees_slots, self._shared, self._dozes = frees_slots, shared, dozes
        self._wished: dict[str, Adapter] = {}
        self._new: list[str] = []
        self._places = 0
        self._loaded: dict[str, Adapter] | None = None
        self._slots: dict[str, int] = {}
        self._busy: Counter[str] = Counter()
        self._used: dict[str, int] = {}
        self._ticks = itertools.count(1)
        self._ours: set[str] = set()
        self._moves: set[asyncio.Task[bool]] = set()
        self._turn, self._line, self._settling = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        self._waits_since: float | None = None
        self._left = asyncio.Event()

    def wish(self, adapters: Sequence[Adapter], places: int) -> None:
        """Say who should be served, and how many at once; `settle` makes it so. What changed is tried anew."""
        fresh = {adapter.expert: adapter for adapter in adapters}
        same = {name for name, adapter in fresh.items() if self._wished.get(name) == adapter}
        self.refused = {name: why for name, why in self.refused.items() if name in same}
        if self._loaded is not None:
            self._new = [name for name in fresh if name not in self._wished]
        self._wished, self._places = fresh, places

    def forget(self) -> None:
        """Take note that the server's run is over: a new one is asked what it holds, and offered all anew."""
        self._loaded, self._slots, self.refused = None, {}, {}

    def is_aboard(self, expert: str) -> bool:
        """Tell whether the server answers for this adapter, as it is wished, now."""
        wished = self._wished.get(expert)
        return wished is not None and self._loaded is not None and self._loaded.get(expert) == wished

    def state(self, expert: str) -> str:
        """Return ready, failed (see `refused`) or starting; one that made way is ready: it comes back when asked."""
        if expert in self.refused:
            return "failed"
        full = self._loaded is not None and len(self._loaded) >= self._places
        return "ready" if full or self.is_aboard(expert) else "starting"

    async def settle(self, *, afresh: bool = False) -> None:
        """Load and unload what is wished, as far as places go. Refusals are kept in `refused`.

        Who is new is loaded even if somebody idle has to make way, so that it is known whether the server takes it.

        Args:
            afresh: ask the server first what it holds, as if nothing were known.

        Raises:
            ExpertError: the server could not be asked.
        """
        async with self._settling:  # whoever settles returns when newcomers were tried, also those another tries
            await self._moved(None, afresh)
            newcomers, self._new = self._new, []
            for name in newcomers if not self._dozes else ():
                await self._moved(name)

    @asynccontextmanager
    async def holding(self, expert: str, deadline: float) -> AsyncIterator[None]:
        """Have an adapter loaded while inside; it is not unloaded meanwhile. `deadline` is monotonic, in seconds.

        Raises:
            ExpertRejected: the server refuses it.
            ExpertOverloaded: every place was in use until the deadline.
            ExpertError: the server could not be asked.
        """
        self._used[expert] = next(self._ticks)
        if self.is_aboard(expert) and not self._somebody_waits_long():
            self._busy[expert] += 1
        else:
            await self._in_line(expert, deadline)
        try:
            yield
        finally:
            self._leave(expert)

    def _leave(self, expert: str) -> None:
        self._busy[expert] -= 1
        if not self._busy[expert]:
            del self._busy[expert]
            self._left.set()
            self._left = asyncio.Event()

    def _somebody_waits_long(self) -> bool:
        """Tell whether newcomers have to queue, so that those aboard come to an end and a place is free."""
        return self._waits_since is not None and time.monotonic() - self._waits_since > PATIENCE_SECONDS

    async def _in_line(self, expert: str, deadline: float) -> None:
        """Wait first come, first served, until an adapter is aboard, and count one more user of it."""
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())), self._line:
                await self._fetch(expert)
        except TimeoutError:
            message = f"Expert '{expert}' found no free adapter place on '{self._base}' in time."
            raise ExpertOverloaded(expert, message) from None
        if expert in self.refused:
            raise ExpertRejected(expert, self.refused[expert])
        self._busy[expert] += 1

    async def _fetch(self, expert: str) -> None:
        self._waits_since = time.monotonic()
        try:
            left = self._left
            while not await self._moved(expert):
                await left.wait()
                left = self._left
        finally:
            self._waits_since = None

    async def _moved(self, needed: str | None, afresh: bool = False) -> bool:
        """Take a turn; see `_move`. Begun, it is carried out even when nobody waits for it any more."""
        move = asyncio.create_task(self._in_turn(needed, afresh))
        self._moves.add(move)
        move.add_done_callback(self._ended)
        return await asyncio.shield(move)

    def _ended(self, move: asyncio.Task[bool]) -> None:
        """Let a move go; whoever waited for it has its error."""
        self._moves.discard(move)
        if not move.cancelled():
            move.exception()

    async def _in_turn(self, needed: str | None, afresh: bool) -> bool:
        async with self._turn:
            if needed is not None and self.is_aboard(needed):
                return True
            if afresh:
                self.refused = {}
            try:
                self._loaded = await self._found() if afresh or self._loaded is None else self._loaded
                return await self._move(self._loaded, needed)
            except ExpertError:
                self.forget()
                raise

    async def _move(self, loaded: Mapping[str, Adapter], needed: str | None) -> bool:
        """Carry one change out; return whether `needed` was dealt with: False when every place is in use.

        Nothing is moved in a server's sleep; who needs an adapter holds the server awake.
        """
        if needed is None and self._dozes and await self._backend.is_sleeping(self._base, self._replica):
            return True
        for name in [name for name, was in loaded.items() if was != self._wished.get(name, was)]:
            if name not in self._busy or name == needed:
                await self._unload(name)
        wished = [name for name in self._wished if name not in self.refused or name == needed]
        aboard = Aboard(wished=wished, loaded=set(loaded), busy=set(self._busy), used=self._used, places=self._places)
        decided = change(aboard, needed)
        for name in decided.unload:
            await self._unload(name)
        for name in decided.load:
            await self._load(self._wished[name])
        if needed in self.refused and decided.unload:  # who made way for nothing comes back
            await self._move(self._loaded or {}, None)
        return not decided.full

    async def _found(self) -> dict[str, Adapter]:
        """Return who is loaded, asked of the server; what is not wished is unloaded, unless it is somebody else's."""
        listed = await self._backend.models(self._base, self._replica)
        wished = self._wished.values()
        for name in listed.keys() - {self._base_name, *(each.served_name for each in wished)}:
            if not self._shared or name in self._ours:
                await self._backend.unload_adapter(name, self._replica, name)
                self._ours.discard(name)
        return {each.expert: self._as_found(each, listed) for each in wished if each.served_name in listed}

    def _as_found(self, adapter: Adapter, listed: Mapping[str, str]) -> Adapter:
        """Return the adapter as the server has it: it may have been loaded from another folder."""
        folder = listed[adapter.served_name]
        theirs = self._shared and adapter.served_name not in self._ours
        return adapter if theirs or not folder else replace(adapter, folder=Path(folder))

    async def _load(self, adapter: Adapter) -> None:
        expert = adapter.expert
        try:
            before = await self._slots_taken()
            if len(before) >= self._places:
                before -= await self._free(None)
            await self._backend.load_adapter(expert, self._replica, adapter.served_name, str(adapter.folder))
        except ExpertRejected as refusal:
            self.refused[expert] = str(refusal)
            return
        self.refused.pop(expert, None)
        self._ours.add(adapter.served_name)
        if self._loaded is not None:
            self._loaded[expert] = adapter
        await self._note_slot(expert, before)

    async def _note_slot(self, expert: str, before: set[int]) -> None:
        """Remember which slot an adapter took, and see that the last one stays empty."""
        taken = await self._slots_taken()
        if len(fresh := taken - before) == 1:
            self._slots[expert] = fresh.pop()
        if len(taken) > self._places:
            await self._free(None)

    async def _unload(self, expert: str) -> None:
        left = self._loaded.pop(expert) if self._loaded else None
        if left is None or (self._shared and left.served_name not in self._ours):
            return
        await self._backend.unload_adapter(expert, self._replica, left.served_name)
        await self._free(self._slots.pop(expert, None))

    async def _free(self, slot: int | None) -> set[int]:
        """Empty a slot; when it is not known which, every unknown one: vLLM fills those in use again."""
        stale = {slot} if slot is not None else await self._slots_taken() - set(self._slots.values())
        for number in stale if self._frees_slots else ():
            await self._backend.drop_adapter(self._base, self._replica, number)
        return stale

    async def _slots_taken(self) -> set[int]:
        """Return the numbers of the adapters whose weights are held; empty where slots are not our business."""
        return await self._backend.adapter_ids(self._base, self._replica) if self._frees_slots else set()
