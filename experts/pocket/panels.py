"""Panels for the fuser: a question, two to four experts' answers with weights, and which of them are right.

The weights imitate a router that is usually, not always, right: three times in four the question's own specialist
leads, otherwise anybody does. Now and then the experts' names are masked, so that names alone cannot be trusted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from experts.fusion_prompt import fusion_instructions
from experts.pocket.corpus import Conversation
from experts.pocket.exam import DOMAINS
from experts.pocket.grading import final_answer, python_block
from experts.pocket.question import PocketQuestion

PANELISTS = ("base", *DOMAINS)
"""Who may sit on a panel."""

LEADS = 0.75
INCLUDED = 0.9
MASKED = 0.2
MASKS = ("alpha", "beta", "gamma", "delta", "expert-1", "expert-2", "expert-3", "expert-4")


@dataclass(frozen=True, slots=True)
class Opinion:
    """One expert's answer on a panel."""

    expert: str
    weight: float
    answer: str
    right: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """What the fuser sees, in this order, and what is known about it."""

    question: PocketQuestion
    opinions: tuple[Opinion, ...]

    def conversation(self) -> Conversation:
        """Return the fuser's prompt: the fusion instructions, then the conversation as it was."""
        candidates = [(opinion.expert, (), opinion.weight, opinion.answer) for opinion in self.opinions]
        system = {"role": "system", "content": fusion_instructions(candidates)}
        return [system, {"role": "user", "content": self.question.prompt}]

    def heaviest(self) -> Opinion:
        """Return the opinion with the highest weight."""
        return max(self.opinions, key=lambda opinion: opinion.weight)

    def majority(self) -> Opinion:
        """Return the heaviest opinion that gives the most frequent final answer; ties go to the heavier answer."""
        votes = Counter(_said(opinion) for opinion in self.opinions)
        return max(self.opinions, key=lambda opinion: (votes[_said(opinion)], opinion.weight))

    def best(self) -> Opinion | None:
        """Return the heaviest right opinion, or None when all are wrong."""
        right = [opinion for opinion in self.opinions if opinion.right]
        return max(right, key=lambda opinion: opinion.weight, default=None)


def draw_panel(question: PocketQuestion, replies: Mapping[str, tuple[str, bool]], random: Random) -> Panel:
    """Seat two to four experts around a question; `replies` holds each one's answer and whether it is right."""
    seated = _seated(question.domain, sorted(replies), random)
    weights = _weights(question.domain, seated, random)
    masks = random.sample(MASKS, len(seated)) if random.random() < MASKED else seated
    opinions = [
        Opinion(mask, weight, *replies[name]) for name, mask, weight in zip(seated, masks, weights, strict=True)
    ]
    return Panel(question, tuple(opinions))


def _seated(domain: str, experts: Sequence[str], random: Random) -> list[str]:
    seated = random.sample(list(experts), random.choice((2, 3, 3, 4)))
    if domain not in seated and random.random() < INCLUDED:
        seated[0] = domain
    random.shuffle(seated)
    return seated


def _weights(domain: str, seated: Sequence[str], random: Random) -> list[float]:
    drawn = [random.random() ** 2 + 0.02 for _ in seated]
    weights = [round(share / sum(drawn), 2) for share in drawn]
    if domain in seated and random.random() < LEADS:
        own, top = seated.index(domain), weights.index(max(weights))
        weights[own], weights[top] = weights[top], weights[own]
    return weights


def _said(opinion: Opinion) -> str:
    return python_block(opinion.answer) or final_answer(opinion.answer) or opinion.answer
