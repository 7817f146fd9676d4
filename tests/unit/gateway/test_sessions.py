"""Which expert a session has, and when it is forgotten."""

from __future__ import annotations

from gateway.sessions import Sessions
from router.types import Assignment, Incumbent, RoutingDecision

MATH = RoutingDecision((Assignment("math", 1.0),), "profile", 0.9, {"law": 0.1, "math": 0.9})
BOTH = RoutingDecision((Assignment("math", 0.5), Assignment("law", 0.5)), "profile", 0.9, {"math": 0.9})
HERE, THERE = ("key", "one"), ("other key", "one")


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_has_the_expert_of_its_last_decision() -> None:
    sessions = Sessions(60)

    sessions.answered(HERE, MATH)

    assert Incumbent("math", "profile", "math") == sessions.incumbent(HERE)
    assert None is sessions.incumbent(THERE)
    assert None is sessions.incumbent(None)


def test_several_experts_are_nobodys_conversation() -> None:
    sessions = Sessions(60)

    sessions.answered(HERE, BOTH)

    assert None is sessions.incumbent(HERE)


def test_an_idle_session_is_forgotten() -> None:
    clock = Clock()
    sessions = Sessions(60, clock=clock)
    sessions.answered(HERE, MATH)

    clock.now = 59
    assert None is not sessions.incumbent(HERE)
    clock.now = 61
    assert None is sessions.incumbent(HERE)


def test_the_least_recent_session_goes_first() -> None:
    sessions = Sessions(60, most=2)
    for name in ("one", "two", "one", "three"):
        sessions.answered(("key", name), MATH)

    assert [True, False, True] == [sessions.incumbent(("key", name)) is not None for name in ("one", "two", "three")]
