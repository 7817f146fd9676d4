"""Lines -> groups, one for each server, so that every expert is loaded at most once in a batch. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from experts.types import ExpertName


@dataclass(frozen=True, slots=True)
class Ask:
    """One question of a batch: line `line` (from 1) to an expert; `place` is its rank among a fused line's experts."""

    line: int
    expert: ExpertName
    place: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """What one server is asked, expert by expert, each expert's lines in the input's order."""

    server: str
    asks: tuple[Ask, ...]

    def by_expert(self) -> dict[ExpertName, list[Ask]]:
        """Return the questions to each expert."""
        found: dict[ExpertName, list[Ask]] = defaultdict(list)
        for ask in self.asks:
            found[ask.expert].append(ask)
        return dict(found)


def plan(
    asks: Iterable[Ask], *, servers: Mapping[ExpertName, str] | None = None, resident: Set[ExpertName] = frozenset()
) -> tuple[Group, ...]:
    """Return one group a server: those with a resident expert first, then the largest first, then by name.

    Args:
        asks: in any order.
        servers: which server an expert's answers come from; an expert not named is one of its own.
        resident: experts that hold memory now.
    """
    found: dict[str, list[Ask]] = defaultdict(list)
    for ask in asks:
        found[(servers or {}).get(ask.expert, ask.expert)].append(ask)
    groups = (Group(server, tuple(sorted(each, key=_in_turn))) for server, each in found.items())
    return tuple(sorted(groups, key=lambda group: _rank(group, resident)))


def _in_turn(ask: Ask) -> tuple[ExpertName, int, int]:
    return ask.expert, ask.line, ask.place


def _rank(group: Group, resident: Set[ExpertName]) -> tuple[bool, int, str]:
    return not any(ask.expert in resident for ask in group.asks), -len(group.asks), group.server
