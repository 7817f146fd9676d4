"""Whether a server that ended is started again, and when. Pure: an event in, an instruction out.

    run ended   -> after_end(tally, ended, patience)     -> (tally, Instruction(restart, delay_seconds))
    /health poll -> after_probe(misses, answered, ...)   -> (misses, hung)

Delays double from one second to a minute and start over after a minute of health. Starts that fail again and
again end in giving up; a server that does come up is restarted for as long as it keeps coming up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When to restart, when to call a silent server hung, when to give up."""

    first_delay_seconds: float = 1.0
    longest_delay_seconds: float = 60.0
    healthy_seconds: float = 60.0
    most_failed_starts: int = 5
    probe_every_seconds: float = 5.0
    probe_timeout_seconds: float = 5.0
    most_misses: int = 3

    @classmethod
    def on(cls, kind: Literal["gpu", "cpu"]) -> Patience:
        """Return the patience for a kind of environment: a busy server on a CPU may answer /health late."""
        return {"gpu": cls(), "cpu": cls(probe_timeout_seconds=20.0, most_misses=6)}[kind]


@dataclass(frozen=True, slots=True)
class Ended:
    """One run of a server is over: why, and for how many seconds it was ready (None: it never was)."""

    reason: str
    ready_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """What counts against a server: runs in a row that ended early, and of those, starts that failed."""

    short_runs: int = 0
    failed_starts: int = 0


@dataclass(frozen=True, slots=True)
class Instruction:
    """Start again after a delay, or leave it."""

    restart: bool
    delay_seconds: float = 0.0


def after_end(tally: Tally, ended: Ended, patience: Patience) -> tuple[Tally, Instruction]:
    """Return the new tally and what to do about a run that ended."""
    was_healthy = (ended.ready_seconds or 0.0) >= patience.healthy_seconds
    tally = Tally(
        short_runs=1 if was_healthy else tally.short_runs + 1,
        failed_starts=tally.failed_starts + 1 if ended.ready_seconds is None else 0,
    )
    if tally.failed_starts >= patience.most_failed_starts:
        return tally, Instruction(restart=False)
    doubled = patience.first_delay_seconds * 2.0 ** min(tally.short_runs - 1, 32)
    return tally, Instruction(restart=True, delay_seconds=min(doubled, patience.longest_delay_seconds))


def after_probe(misses: int, answered: bool, patience: Patience) -> tuple[int, bool]:
    """Return the misses in a row and whether they make a hung server."""
    misses = 0 if answered else misses + 1
    return misses, misses >= patience.most_misses
