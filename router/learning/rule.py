"""How fast to learn from feedback, and how far anybody may move the routing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DriftRule:
    """When a series of surprises is an alarm (Page-Hinkley).

    Args:
        slack: change of the mean error that is tolerated, as a share of right answers (0..1).
        threshold: sum of surprises beyond the slack that raises the alarm, in answers.
        warm_up: answers before the first alarm, while the usual error is still being learnt.
    """

    slack: float = 0.05
    threshold: float = 20.0
    warm_up: float = 30.0


@dataclass(frozen=True, slots=True)
class LearningRule:
    """How one observation moves an expert's skill; every size is in logits (0.05 is at most 1.25 points of accuracy).

    Args:
        step: the most one answer can move a skill in one domain.
        shared: weight, 0..1, of what is learnt for all domains at once beside each domain's own.
        forgetting: share of the distance to the measured skill that one answer gives back; 0 keeps what was learnt.
        max_shift: the furthest a skill can ever be from the measured one, in either part.
        daily_shift: the furthest one key can move any two experts apart or together in a domain, in a day.
        drift: when surprises become an alarm.
    """

    step: float = 0.05
    shared: float = 0.3
    forgetting: float = 0.0
    max_shift: float = 2.0
    daily_shift: float = 0.5
    drift: DriftRule = DriftRule()
