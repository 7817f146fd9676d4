"""What has been learnt so far, as a value: (state, observation) -> state. Effects, such as keeping it, are elsewhere.

Observation   what became known about one request: its domains, and how right each of some experts was
Lesson        what the observation changed, so that it can be taken back
Learning      offsets, drift detectors and accounts; version counts lessons, epoch counts rollbacks
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from experts.profile import EVERYWHERE
from experts.types import Domain, ExpertName
from router.learning.drift import Detector, noticed
from router.learning.offsets import Offsets, sigmoid
from router.learning.rule import LearningRule
from router.learning.update import Floats, features, moves, within_account


@dataclass(frozen=True, slots=True)
class Mark:
    """How right one expert was.

    Args:
        score: 0..1.
        base: log odds of being right that the decision rested on, without anything learnt.
        trust: how much the score counts, 0..1.
    """

    score: float
    base: float
    trust: float = 1.0


@dataclass(frozen=True, slots=True)
class Observation:
    """What became known about one request.

    Args:
        domains: P(domain) at the decision.
        marks: by expert, any number of them.
        source: whose account the moves are charged to: the caller's key.
        day: the day it happened, as any text that changes at midnight.
    """

    domains: Mapping[Domain, float]
    marks: Mapping[ExpertName, Mark]
    source: str
    day: str


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one observation changed; `limited` says that the source's account was full before all was carried out."""

    version: int
    epoch: int
    source: str
    day: str
    moved: Offsets
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Alarm:
    """An expert that changed in a domain: `direction` is "fell" or "rose", since about state `since`."""

    expert: ExpertName
    domain: Domain
    direction: str
    since: int


@dataclass(frozen=True, slots=True)
class Learning:
    """Everything learnt.

    Args:
        version: number of lessons, rollbacks included; never falls.
        epoch: number of rollbacks.
        offsets: logits by expert and domain; `EVERYWHERE` not yet weighted by `shared`.
        detectors: of drift, by expert and domain.
        day: the day the accounts are of.
        accounts: net moves of that day by source, expert and domain.
    """

    version: int = 0
    epoch: int = 0
    offsets: Offsets = field(default_factory=dict)
    detectors: Mapping[ExpertName, Mapping[Domain, Detector]] = field(default_factory=dict)
    day: str = ""
    accounts: Mapping[str, Offsets] = field(default_factory=dict)

    def learned(self, rule: LearningRule) -> Offsets:
        """Return what to lay over the profiles: logits by expert and domain, `EVERYWHERE` weighted."""
        return {
            expert: {d: rule.shared * value if d == EVERYWHERE else value for d, value in row.items()}
            for expert, row in self.offsets.items()
        }


class Learned(NamedTuple):
    """The state after an observation, what it changed, and the alarms it raised."""

    state: Learning
    lesson: Lesson
    alarms: tuple[Alarm, ...]


def observed(state: Learning, observation: Observation, rule: LearningRule) -> Learned:
    """Return the state after one more observation; pure."""
    state = _today(state, observation.day)
    experts, domains = list(observation.marks), list(observation.domains)
    marks = [observation.marks[expert] for expert in experts]
    x = features(np.array([observation.domains[domain] for domain in domains], dtype=np.float64), rule)
    columns = [*domains, EVERYWHERE]
    wanted = moves(
        _table(state.offsets, experts, columns),
        x,
        np.array([mark.base for mark in marks]),
        np.array([mark.score for mark in marks]),
        np.array([mark.trust for mark in marks]),
        rule,
    )
    account = state.accounts.get(observation.source, {})
    others = np.abs(_table(account, [name for name in account if name not in experts], columns)).sum(axis=0)
    done = within_account(wanted, _table(account, experts, columns), others, rule.daily_shift / 2)
    moved = {e: dict(zip(columns, map(float, row), strict=True)) for e, row in zip(experts, done, strict=True)}
    limited = bool(np.abs(wanted - done).max(initial=0.0) > 1e-12)
    lesson = Lesson(state.version + 1, state.epoch, observation.source, observation.day, moved, limited)
    detectors, alarms = _watched(state, observation, rule)
    return Learned(replace(_moved(state, lesson, 1.0), detectors=detectors), lesson, alarms)


def taken_back(state: Learning, lesson: Lesson) -> Learning:
    """Return the state without a lesson, as when a user changes their mind; a rollback since then stands."""
    return _moved(state, lesson, -1.0) if lesson.epoch == state.epoch else state


def revised(state: Learning, lesson: Lesson, observation: Observation, rule: LearningRule) -> Learned:
    """Return the state in which `observation` stands in for what gave the lesson: the user changed their mind.

    Detectors saw the request once and are left alone. A lesson from before a rollback changes nothing any more.
    """
    if lesson.epoch != state.epoch:
        return Learned(state, lesson, ())
    after, new, _ = observed(taken_back(state, lesson), observation, rule)
    return Learned(replace(after, detectors=state.detectors), new, ())


def restored(state: Learning, earlier: Learning) -> Learning:
    """Return the state with the offsets of an earlier one, exactly; the accounts of the day stay spent."""
    return replace(
        state, version=state.version + 1, epoch=state.epoch + 1, offsets=earlier.offsets, detectors=earlier.detectors
    )


def _moved(state: Learning, lesson: Lesson, sign: float) -> Learning:
    accounts = state.accounts
    if lesson.day == state.day:
        accounts = {**accounts, lesson.source: _added(accounts.get(lesson.source, {}), lesson.moved, sign)}
    return replace(
        state, version=state.version + 1, offsets=_added(state.offsets, lesson.moved, sign), accounts=accounts
    )


def _added(offsets: Offsets, moved: Offsets, sign: float) -> Offsets:
    rows = {
        expert: {
            **offsets.get(expert, {}),
            **{d: offsets.get(expert, {}).get(d, 0.0) + sign * m for d, m in row.items()},
        }
        for expert, row in moved.items()
    }
    return {**offsets, **rows}


def _today(state: Learning, day: str) -> Learning:
    """Return the state with accounts of this day; a late observation of an earlier day is charged to today."""
    return state if day <= state.day else replace(state, day=day, accounts={})


def _table(offsets: Offsets, experts: Iterable[ExpertName], columns: list[Domain]) -> Floats:
    rows = [[offsets.get(expert, {}).get(domain, 0.0) for domain in columns] for expert in experts]
    return np.array(rows, dtype=np.float64).reshape(-1, len(columns))


def _watched(
    state: Learning, observation: Observation, rule: LearningRule
) -> tuple[Mapping[ExpertName, Mapping[Domain, Detector]], tuple[Alarm, ...]]:
    """Return the detectors after the observation and what they raised; one that raised an alarm begins anew."""
    alarms: list[Alarm] = []
    detectors = dict(state.detectors)
    for expert, mark in observation.marks.items():
        row = dict(detectors.get(expert, {}))
        for domain, probability in observation.domains.items():
            error, weight = mark.score - sigmoid(mark.base), mark.trust * probability
            after, direction = noticed(row.get(domain, Detector()), error, weight, state.version, rule.drift)
            row[domain] = Detector() if direction else after
            if direction:
                since = after.fell_since if direction == "fell" else after.rose_since
                alarms.append(Alarm(expert, domain, direction, since))
        detectors[expert] = row
    return detectors, tuple(alarms)
