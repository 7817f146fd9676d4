"""Which LoRA adapters a server holds when there are more of them than places. Pure: who is there in, who moves out.

who goes    whoever is not wished any more, at once
who comes   the one a request waits for now; the least recently used one that nobody uses makes way
the rest    while places are free, the most recently used first
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """Adapters to unload first, then to load; `full`: everyone aboard is in use, so the needed one has to wait."""

    unload: tuple[str, ...] = ()
    load: tuple[str, ...] = ()
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Aboard:
    """What is known of one server's adapters.

    Args:
        wished: who should be served here, in the configuration's order.
        loaded: who is loaded now.
        busy: who answers a request now, and must not be unloaded.
        used: when each was last asked for, as a count that only grows; missing means never.
        places: how many may be loaded at once.
    """

    wished: Sequence[str]
    loaded: Collection[str]
    busy: Collection[str]
    used: Mapping[str, int]
    places: int


def change(aboard: Aboard, needed: str | None = None) -> Change:
    """Return what to unload and to load, so that `needed` (when given) is served."""
    gone = tuple(sorted(name for name in aboard.loaded if name not in aboard.wished and name not in aboard.busy))
    lingering = [name for name in aboard.loaded if name not in aboard.wished and name in aboard.busy]
    staying = lingering + [name for name in aboard.wished if name in aboard.loaded]
    if needed is None or needed in staying or needed not in aboard.wished:
        return Change(gone, _while_free(aboard, staying))
    if len(staying) < aboard.places:
        return Change(gone, (needed, *_while_free(aboard, [*staying, needed])))
    idle = [name for name in staying if name not in aboard.busy]
    if not idle:
        return Change(gone, full=True)
    least = min(idle, key=lambda name: aboard.used.get(name, 0))
    return Change((*gone, least), (needed,))


def by_use(names: Sequence[str], used: Mapping[str, int]) -> list[str]:
    """Return the names, the most recently used first and those never used in their own order."""
    return sorted(names, key=lambda name: -used.get(name, 0))


def _while_free(aboard: Aboard, taken: Sequence[str]) -> tuple[str, ...]:
    waiting = by_use([name for name in aboard.wished if name not in taken], aboard.used)
    return tuple(waiting[: max(0, aboard.places - len(taken))])
