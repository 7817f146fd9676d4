"""Panels to examine fusers on: one question, several experts' real answers to it, and which of them are right.

    kind            who is right on the panel                                     what it shows
    one_right       one, and no wrong answer has more behind it                   finds the right one among the wrong
    majority_wrong  some, but more give one and the same wrong answer             does not follow the many
    all_wrong       nobody                                                        knows better by itself; not counted
    majority_right  all the rest: several agree on what is right                  does not spoil it

The first three are put together from the answers that there are, seated in random order. A council is seated as
routing seats it, whatever its members said, so that what fusing gains there is what it gains in use.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum
from random import Random
from typing import Literal, TypeAlias, get_args

from experts.profiling import Question
from experts.types import Domain, ExpertName

PanelKind: TypeAlias = Literal["one_right", "majority_wrong", "all_wrong", "majority_right"]
KINDS: tuple[PanelKind, ...] = get_args(PanelKind)
SEATS = 3
FEWEST_SEATS = 2


@dataclass(frozen=True, slots=True)
class Seat:
    """One expert's answer on a panel.

    Args:
        expert: who answered.
        text: the answer.
        right: how it was marked.
        final: what it finally says, comparable with others'; None where that cannot be told.
        weight: the router's for this question; on a panel that was put together here they sum to 1.
        quality: the router's probability that this expert answers this question rightly, where it knows one.
        domains: what the expert is for.
    """

    expert: ExpertName
    text: str
    right: bool
    final: str | None = None
    weight: float = 1.0
    quality: float | None = None
    domains: tuple[Domain, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """What a fuser is shown, in this order. `council`: seated by routing, not made up for what its members said."""

    question: Question
    seats: tuple[Seat, ...]
    council: bool = False
    key: str = field(init=False, default="")
    """Names the panel: equal for equal ones, in every process."""

    def __post_init__(self) -> None:
        shown = [[seat.expert, seat.domains, seat.weight, seat.text] for seat in self.seats]
        told = json.dumps([self.question.key, self.council, shown])
        object.__setattr__(self, "key", hashlib.sha256(told.encode()).hexdigest()[:24])

    @property
    def kind(self) -> PanelKind:
        """What its members' marks make it."""
        right, many = sum(seat.right for seat in self.seats), len(_agreeing(self.seats))
        if not right:
            return "all_wrong"
        if many > right:
            return "majority_wrong"
        return "one_right" if right == 1 and len(self.seats) > 1 else "majority_right"

    @property
    def heaviest(self) -> Seat:
        """Whose answer is returned where nothing is fused: the most weight, the first of equals."""
        return max(self.seats, key=lambda seat: seat.weight)


def panels(question: Question, answers: Sequence[Seat], council: Sequence[ExpertName], seed: int) -> Iterator[Panel]:
    """Yield the council, and one panel of each kind that the answers can make; nobody is seated together twice.

    The same for the same seed, in whatever order the answers come.

    Args:
        question: what was asked.
        answers: what each expert answered, at most one an expert.
        council: whom routing would ask, best first; no council where fewer than two of them answered.
    """
    known: Mapping[ExpertName, Seat] = {seat.expert: seat for seat in sorted(answers, key=lambda seat: seat.expert)}
    seated = tuple(known[name] for name in council if name in known)
    taken = set()
    if len(seated) >= FEWEST_SEATS:
        taken.add(frozenset(seat.expert for seat in seated))
        yield Panel(question, weighed(seated), council=True)
    for kind, make in MADE.items():
        random = Random(f"{seed}/{question.key}/{kind}")
        made = make(random.sample([*known.values()], len(known)))
        who = frozenset(seat.expert for seat in made)
        if len(made) >= FEWEST_SEATS and who not in taken:
            taken.add(who)
            yield Panel(question, weighed(random.sample(made, len(made))))


def weighed(seats: Sequence[Seat]) -> tuple[Seat, ...]:
    """Return the seats with weights that sum to 1; equal ones where all are 0."""
    total = fsum(seat.weight for seat in seats)
    return tuple(replace(seat, weight=seat.weight / total if total > 0 else 1 / len(seats)) for seat in seats)


def _one_right(shuffled: Sequence[Seat]) -> list[Seat]:
    """Return one right answer and wrong ones that all say something else."""
    right = [seat for seat in shuffled if seat.right][:1]
    wrong: list[Seat] = []
    for seat in shuffled:
        if not seat.right and (seat.final is None or seat.final not in {other.final for other in wrong}):
            wrong.append(seat)
    return [*right, *wrong[: SEATS - 1]] if right and wrong else []


def _majority_wrong(shuffled: Sequence[Seat]) -> list[Seat]:
    """Return one right answer and the wrong answer that most agree on, as often as there are seats."""
    right, wrong = [seat for seat in shuffled if seat.right][:1], _agreeing(shuffled)
    return [*right, *wrong[: SEATS - 1]] if right and len(wrong) > 1 else []


def _all_wrong(shuffled: Sequence[Seat]) -> list[Seat]:
    return [seat for seat in shuffled if not seat.right][:SEATS]


def _agreeing(seats: Sequence[Seat]) -> list[Seat]:
    """Return those who give the wrong answer that most give."""
    finals = Counter(seat.final for seat in seats if not seat.right and seat.final is not None)
    if not finals:
        return []
    most = max(finals, key=lambda final: finals[final])
    return [seat for seat in seats if not seat.right and seat.final == most]


MADE = {"one_right": _one_right, "majority_wrong": _majority_wrong, "all_wrong": _all_wrong}
"""How each kind is put together from answers in random order; empty where they cannot make it."""
