"""Hold what was learnt: one state, kept in the store, the same in every process that shares it.

All decisions about it are pure (`router.learning`). Here a change is computed on the newest state and written with
its version as a condition, again if another process was faster; when a call returns, it is on the disk. Every
`checkpoint_every` lessons the state is also kept under its version, to return to.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from experts.profile import EVERYWHERE, SkillProfile
from experts.store import ABSENT, Document, Store, StoreError, VersionConflict
from experts.types import Domain, ExpertName
from gateway.errors import InvalidRequest
from gateway.logs import facts
from router.learning import (
    Alarm,
    Learned,
    Learning,
    LearningConfig,
    Lesson,
    Mark,
    Observation,
    from_body,
    observed,
    overlaid,
    restored,
    revised,
    to_body,
)

log = logging.getLogger(__name__)
STATE, CHECKPOINTS = "learning/state", "learning/checkpoint/"
ATTEMPTS = 20
RETRY_SECONDS = 5.0
RECENT_ALARMS = 100


class AlarmSeen(NamedTuple):
    """A drift alarm and what was done: `rolled_back_to` is the version returned to, None when learning went on."""

    alarm: Alarm
    at: float
    rolled_back_to: int | None


class Learner:
    """The state of what was learnt. `load` it first; `follow` keeps it fresh while other processes learn.

    Args:
        store: where it is kept; borrowed.
        config: how fast, and what an alarm does.
        told: called with each alarm.
        today: the day that accounts are of.
    """

    def __init__(
        self,
        store: Store,
        config: LearningConfig,
        *,
        told: Callable[[AlarmSeen], None] = lambda _: None,
        today: Callable[[], str] = lambda: datetime.now(UTC).date().isoformat(),
    ) -> None:
        self.config, self.rule = config, config.rule()
        self.alarms: deque[AlarmSeen] = deque(maxlen=RECENT_ALARMS)
        self.store, self._told, self._today = store, told, today
        self._stored = ABSENT
        self._laid: tuple[tuple[SkillProfile, ...], tuple[SkillProfile, ...]] | None = None
        self._changing = asyncio.Lock()
        self._take(Learning(), ABSENT)

    async def load(self) -> None:
        """Read what was learnt before; nothing was when there is none."""
        document = await self.store.get(STATE)
        if document is not None:
            self._take(_state_of(document), document.version)

    async def follow(self) -> None:
        """Take over what other processes learn, for as long as the store is open."""
        while not self.store.closed:
            try:
                async for change in self.store.watch(STATE, after=self._stored):
                    if change.document is not None and change.version > self._stored:
                        self._take(_state_of(change.document), change.version)
            except StoreError as error:
                log.warning("what others learn cannot be read", extra=facts(error=str(error)))
                await asyncio.sleep(RETRY_SECONDS)

    def overlaid(self, profiles: tuple[SkillProfile, ...]) -> tuple[SkillProfile, ...]:
        """Return the profiles with what was learnt; the same as long as neither changes."""
        if not self._learned or not self.config.enabled:
            return profiles
        if self._laid is None or self._laid[0] != profiles:
            self._laid = (profiles, overlaid(profiles, self._learned))
        return self._laid[1]

    def shift(self, expert: ExpertName, domains: Mapping[Domain, float]) -> float:
        """Return the log odds that are laid over an expert's estimate on a query about these domains."""
        row = self._learned.get(expert)
        if row is None or not self.config.enabled:
            return 0.0
        everywhere = row.get(EVERYWHERE, 0.0)
        return sum(probability * (row.get(domain, 0.0) + everywhere) for domain, probability in domains.items())

    async def learn(
        self,
        domains: Mapping[Domain, float],
        marks: Mapping[ExpertName, Mark],
        source: str,
        former: Lesson | None = None,
    ) -> Lesson:
        """Learn from what became known about one request, in place of a former lesson from it if there is one.

        Raises:
            StoreError: it could not be kept, so it was not learnt.
        """
        observation = Observation(domains, marks, source, self._today())

        def change(state: Learning) -> Learned:
            if former is None:
                return observed(state, observation, self.rule)
            return revised(state, former, observation, self.rule)

        learned = await self._change(change)
        await self._answer(learned.alarms)
        return learned.lesson

    async def rollback(self, version: int | None = None) -> Learning:
        """Return to a checkpoint: that of `version`, or the newest before the present state; newer ones are dropped.

        Raises:
            InvalidRequest: there is no such checkpoint.
        """
        kept = {_version(document): document for document in await self.store.find(CHECKPOINTS)}
        chosen = version if version is not None else max((v for v in kept if v < self.state.version), default=None)
        if chosen is None or (chosen not in kept and chosen != 0):
            known = ", ".join(map(str, [0, *sorted(kept)]))
            raise InvalidRequest(f"There is no version {version} to return to; there are {known}.", param="version")
        earlier = _state_of(kept[chosen]) if chosen in kept else Learning()

        def change(state: Learning) -> Learned:
            return Learned(restored(state, earlier), Lesson(state.version + 1, state.epoch + 1, "", "", {}), ())

        state = (await self._change(change)).state
        for document in await self.store.find(CHECKPOINTS):
            if chosen < _version(document) < state.version:
                await self.store.delete(document.key)
        return state

    async def versions(self) -> list[int]:
        """Return the versions there are to return to, oldest first; 0 is before anything was learnt."""
        return [0, *(_version(document) for document in await self.store.find(CHECKPOINTS))]

    async def _answer(self, alarms: tuple[Alarm, ...]) -> None:
        """Tell of alarms, after returning to before the drift where that is wanted."""
        for alarm in alarms:
            target = None
            if self.config.on_alarm == "rollback":
                target = max(version for version in await self.versions() if version <= alarm.since)
                await self.rollback(target)
            seen = AlarmSeen(alarm, time.time(), target)
            self.alarms.append(seen)
            self._told(seen)
            told = facts(expert=alarm.expert, domain=alarm.domain, direction=alarm.direction, rolled_back_to=target)
            log.warning("drift: an expert is no longer as good or bad as it was", extra=told)

    async def _change(self, change: Callable[[Learning], Learned]) -> Learned:
        """Compute on the newest state and write; again when somebody else wrote meanwhile.

        Raises:
            StoreError: it could not be written.
        """
        async with self._changing:
            for _ in range(ATTEMPTS):
                before, learned = self._stored, change(self.state)
                try:
                    document = await self.store.put(STATE, to_body(learned.state), expected=before)
                except VersionConflict:
                    await self.load()
                    continue
                if document.version > self._stored:
                    self._take(learned.state, document.version)
                await self._checkpoint(learned.state)
                return learned
        raise StoreError(f"What was learnt was changed by others {ATTEMPTS} times in a row; try again.")

    async def _checkpoint(self, state: Learning) -> None:
        if state.version % self.config.checkpoint_every:
            return
        await self.store.put(f"{CHECKPOINTS}{state.version:012d}", to_body(state))
        kept = await self.store.find(CHECKPOINTS)
        for old in kept[: -self.config.checkpoints]:
            await self.store.delete(old.key)

    def _take(self, state: Learning, stored: int) -> None:
        self.state, self._stored = state, stored
        self._learned = state.learned(self.rule)
        self._laid = None


def _version(document: Document) -> int:
    return int(document.key.removeprefix(CHECKPOINTS))


def _state_of(document: Document) -> Learning:
    """Return the state in a document.

    Raises:
        StoreError: another version of this program wrote it.
    """
    try:
        return from_body(document.body)
    except ValueError as error:
        raise StoreError(f"'{document.key}' cannot be read: {error}.") from error
