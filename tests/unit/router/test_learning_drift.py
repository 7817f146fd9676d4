"""Drift alarms by simulation: how often they are false, how long a real change takes, and where they point."""

from __future__ import annotations

import numpy as np
import pytest

from router.learning import Alarm, Detector, DriftRule, Learning, LearningRule, Mark, Observation, noticed, observed
from router.learning.offsets import logit

RULE = DriftRule()


def first_alarm(skills: np.ndarray, believed: float, seed: int, rule: DriftRule = RULE) -> tuple[int, str] | None:
    """Return after how many answers the alarm comes, and its direction, on answers right with these chances."""
    answers = (np.random.default_rng(seed).random(len(skills)) < skills).astype(float)
    detector = Detector()
    for index, answer in enumerate(answers):
        detector, direction = noticed(detector, answer - believed, 1.0, index, rule)
        if direction:
            return index, direction
    return None


@pytest.mark.parametrize("skill", [0.5, 0.8])
@pytest.mark.parametrize("believed_off", [0.0, 0.15])
def test_a_steady_expert_raises_at_most_one_false_alarm_in_fifty_thousand_answers(
    skill: float, believed_off: float
) -> None:
    runs = [first_alarm(np.full(2500, skill), skill - believed_off, seed) for seed in range(20)]

    assert sum(run is not None for run in runs) <= 1


@pytest.mark.parametrize(("before", "after", "direction"), [(0.8, 0.5, "fell"), (0.4, 0.7, "rose")])
def test_a_change_by_thirty_points_is_noticed_within_150_answers(before: float, after: float, direction: str) -> None:
    skills = np.concatenate([np.full(500, before), np.full(400, after)])
    alarms = [first_alarm(skills, before, seed) for seed in range(20)]

    delays = [alarm[0] - 500 for alarm in alarms if alarm is not None]
    assert 20 == len(delays)
    assert {direction} == {alarm[1] for alarm in alarms if alarm is not None}
    assert 0 < np.median(delays) <= 120
    assert max(delays) <= 150


def test_a_change_within_the_slack_is_no_alarm() -> None:
    skills = np.concatenate([np.full(500, 0.8), np.full(1500, 0.77)])

    assert [None] * 10 == [first_alarm(skills, 0.8, seed) for seed in range(10)]


def test_nothing_is_said_before_the_usual_error_is_known() -> None:
    rule = DriftRule(threshold=0.1, warm_up=30)

    alarm = first_alarm(np.concatenate([np.ones(15), np.zeros(100)]), 0.5, 0, rule)

    assert alarm is not None
    assert 29 <= alarm[0]


def test_an_alarm_names_expert_domain_direction_and_since_when() -> None:
    rule = LearningRule(daily_shift=1000.0)
    chance, state = np.random.default_rng(3), Learning()
    alarms: list[Alarm] = []
    for index in range(700):
        skill = 0.8 if index < 400 else 0.3
        marks = {
            "faulty": Mark(float(chance.random() < skill), logit(0.8)),
            "steady": Mark(float(chance.random() < 0.6), logit(0.6)),
        }
        observation = Observation({"math": 0.9, "law": 0.1}, marks, f"key{index}", "2026-01-01")
        state, _, raised = observed(state, observation, rule)
        alarms += raised

    assert ("faulty", "math", "fell") == (alarms[0].expert, alarms[0].domain, alarms[0].direction)
    assert alarms[0].since == pytest.approx(400, abs=30)
    assert {"faulty"} == {alarm.expert for alarm in alarms}
