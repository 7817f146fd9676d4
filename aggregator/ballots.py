"""How the answers to one question are counted: what a vote weighs, who wins, when the rest cannot change it.

Where the router knows of every candidate how probably it is right, a vote weighs log(p (K-1) / (1-p)): the log odds of
its answer against each of K - 1 others (Nitzan and Paroush, 1982; naive Bayes, with p of this very question). Where
that comes to less than LEVEL on average, all votes weigh so much more: that a question is hard for everybody says that
perhaps nobody is right, which no vote can mend, and not which answer is. An expert that is far worse than the others
may still weigh against its own answer. Else votes weigh what the router says.

Ties go to the group with the heaviest single voter, then to the primary.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import fmean
from typing import Any

from aggregator.extraction import ANYTHING, Wanted, alike, final_answer, wanted
from aggregator.types import Answer, Candidate
from experts.types import Message

SUREST = 0.99
"""No expert is taken to be surer than this, nor than its complement to be wrong."""
USUAL_OPTIONS = 10
"""How many answers a question is taken to have where it lists none."""
LEVEL = 1.5
"""Least that votes weigh on average, in natural log odds; anything from 1 to 4 counts alike among peers."""
AHEAD = 0.3
"""How much the log odds of the best must exceed the next one's for a vote not to pay: experts err together."""
_TIE = 1e-9


def log_odds(quality: float) -> float:
    """Return log(p / (1-p)), within what anybody can be sure of."""
    p = min(max(quality, 1 - SUREST), SUREST)
    return log(p / (1 - p))


def shift_of(qualities: Sequence[float], options: int) -> float:
    """Return what is added to the log odds of each to be the weight of its vote."""
    return max(log(max(1, options - 1)), LEVEL - fmean(map(log_odds, qualities)))


def leads(qualities: Sequence[float]) -> bool:
    """Say whether one expert is so far ahead of the next that nobody else need be asked."""
    ranked = sorted(map(log_odds, qualities), reverse=True)
    return len(ranked) < 2 or ranked[0] - ranked[1] > AHEAD


@dataclass(frozen=True, slots=True)
class Group:
    """Candidates that gave the same final answer, heaviest first, and what they weigh together."""

    final: str
    voters: tuple[Answer, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Ballot:
    """The rules of one vote.

    Args:
        wanted: what kind of answer the question wants.
        shift: what is added to a candidate's log odds of being right to be its weight; None where votes weigh what the
            router says.
    """

    wanted: Wanted = ANYTHING
    shift: float | None = None

    @classmethod
    def of(cls, candidates: Sequence[Candidate], messages: Sequence[Message]) -> Ballot:
        """Return the rules for a question; one unknown quality, and all votes weigh what the router says."""
        asked, known = wanted(messages), [each.quality for each in candidates if each.quality is not None]
        complete = candidates and len(known) == len(candidates)
        return cls(asked, shift_of(known, len(asked.options) or USUAL_OPTIONS) if complete else None)

    def weight(self, voter: Answer | Candidate) -> float:
        """Return what a vote weighs."""
        if self.shift is None or voter.quality is None:
            return voter.weight
        return log_odds(voter.quality) + self.shift

    def final(self, answer: Answer) -> str | None:
        """Return what an answer comes to: its final answer, or the tools it calls with which arguments."""
        calls = answer.answer.body["choices"][0]["message"].get("tool_calls")
        return _called(calls) if calls else final_answer(answer.text, self.wanted)

    def groups(self, answers: Sequence[Answer], finals: Sequence[str | None] | None = None) -> list[Group]:
        """Return answers by what they come to (`finals`, where that is known already), the winning group first.

        Answers come primary first.
        """
        known = [self.final(answer) for answer in answers] if finals is None else finals
        first = alike(final for final in known if final is not None)
        voters: dict[str, list[Answer]] = {}
        for answer, final in zip(answers, known, strict=True):
            if final is not None:
                voters.setdefault(first[final], []).append(answer)
        found = [self._group(final, who) for final, who in voters.items()]
        return sorted(found, key=lambda group: (-round(group.weight, 9), -self.weight(group.voters[0])))

    def _group(self, final: str, voters: Sequence[Answer]) -> Group:
        weight = sum(self.weight(voter) for voter in voters)
        return Group(final, tuple(sorted(voters, key=lambda voter: -self.weight(voter))), weight)

    def elect(self, answers: Sequence[Answer], finals: Sequence[str | None] | None = None) -> Answer | None:
        """Return the winning answer, or None when nobody gave a comparable one."""
        ranked = self.groups(answers, finals)
        return ranked[0].voters[0] if ranked else None

    def decided(self, answers: Sequence[Answer], pending: Sequence[Candidate]) -> bool:
        """Say whether nothing that is still to come can change the winner.

        At worst for the leader, whoever weighs something joins its rival, or founds one, and whoever weighs less than
        nothing joins the leader.
        """
        ranked = self.groups(answers)
        return bool(ranked) and settled([group.weight for group in ranked], [self.weight(each) for each in pending])

    def stages(self, candidates: Sequence[Candidate]) -> tuple[int, ...]:
        """Return in which stages to ask: first as many as settle it if they agree, then one at a time."""
        weights = [self.weight(candidate) for candidate in candidates]
        for count in range(1, len(weights)):
            if settled([sum(weights[:count])], weights[count:]):
                return (count, *(1 for _ in weights[count:]))
        return ()


def settled(tallies: Sequence[float], coming: Sequence[float]) -> bool:
    """Say whether the first of these tallies, the highest, stays so whatever the votes still coming are for."""
    leader, gain = tallies[0] + sum(min(each, 0.0) for each in coming), sum(max(each, 0.0) for each in coming)
    if len(tallies) > 1 and leader <= tallies[1] + gain + _TIE:
        return False
    if not coming:
        return True
    founder = gain if gain > 0 else max(coming)
    return leader - min(founder, 0.0) > founder + _TIE


def _called(calls: Sequence[Mapping[str, Any]]) -> str:
    asked = [call.get("function") or {} for call in calls]
    return json.dumps([[each.get("name"), _arguments(each.get("arguments"))] for each in asked], sort_keys=True)


def _arguments(written: Any) -> Any:
    try:
        return json.loads(written)
    except (TypeError, ValueError, RecursionError):
        return written
