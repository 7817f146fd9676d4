"""Panels for the fuser: a question, two to four experts' answers with weights, and which of them are right.

Mixed panels imitate a router that is usually, not always, right: three times in four the question's own specialist
leads, otherwise anybody does. Now and then the experts' names are masked, so that names alone cannot be trusted.
Councils are what `auto` seats: the question's specialist, far ahead, and two others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from experts.fusion_prompt import Shown, fusion_instructions, named_expert, ranking_instructions
from experts.pocket.corpus import Conversation
from experts.pocket.exam import DOMAINS
from experts.pocket.grading import final_answer, python_block
from experts.pocket.question import PocketQuestion

PANELISTS = ("base", *DOMAINS)
"""Who may sit on a panel."""
KNOWN_FOR = {"base": ("general chat",), **{domain: (domain,) for domain in DOMAINS}}
"""Each one's domains, as the shipped configuration has them."""
COUNCIL = 3

Replies = Mapping[str, tuple[str, bool]]
"""Each expert's answer to a question, and whether it is right."""

LEADS = 0.75
INCLUDED = 0.9
MASKED = 0.2
MASKS = ("alpha", "beta", "gamma", "delta", "kappa", "omega", "sigma", "theta")


def said(answer: str) -> str:
    """Return what can be compared of an answer: its code, else its final answer, else the whole text."""
    return python_block(answer) or final_answer(answer) or answer


@dataclass(frozen=True, slots=True)
class Opinion:
    """One expert's answer on a panel; `domains` are empty where the name is masked."""

    expert: str
    weight: float
    answer: str
    right: bool
    domains: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """Return what can be compared: the code, else the final answer, else the whole text."""
        return said(self.answer)

    @property
    def shown(self) -> Shown:
        """Return what a fuser sees of it."""
        return (self.expert, self.domains, self.weight, self.answer)


@dataclass(frozen=True, slots=True)
class Panel:
    """What the fuser sees, in this order, and what is known about it."""

    question: PocketQuestion
    opinions: tuple[Opinion, ...]

    def conversation(self) -> Conversation:
        """Return the prompt of a fuser that writes: its instructions, then the conversation as it was."""
        return self._instructed(fusion_instructions([opinion.shown for opinion in self.opinions]))

    def ranking(self, places: Sequence[int]) -> Conversation:
        """Return the prompt of a fuser that compares the opinions at these places, in this order."""
        return self._instructed(ranking_instructions([self.opinions[place].shown for place in places]))

    def _instructed(self, instructions: str) -> Conversation:
        return [{"role": "system", "content": instructions}, {"role": "user", "content": self.question.prompt}]

    def meant(self, text: str) -> str:
        """Return the answer that a fuser's text gives: an opinion, word for word, where it begins with its expert."""
        place = named_expert(text, [opinion.expert for opinion in self.opinions])
        return text if place is None else self.opinions[place].answer

    def heaviest(self) -> Opinion:
        """Return the opinion with the highest weight."""
        return max(self.opinions, key=lambda opinion: opinion.weight)

    def majority(self) -> Opinion:
        """Return the heaviest opinion that gives the most frequent final answer; ties go to the heavier answer."""
        votes = Counter(opinion.said for opinion in self.opinions)
        return max(self.opinions, key=lambda opinion: (votes[opinion.said], opinion.weight))

    def vote(self) -> Opinion:
        """Return the heaviest opinion that gives the final answer with the most weight behind it."""
        weights: dict[str, float] = defaultdict(float)
        for opinion in self.opinions:
            weights[opinion.said] += opinion.weight
        return max(self.opinions, key=lambda opinion: (weights[opinion.said], opinion.weight))

    def best(self) -> Opinion | None:
        """Return the heaviest right opinion, or None when all are wrong."""
        right = [opinion for opinion in self.opinions if opinion.right]
        return max(right, key=lambda opinion: opinion.weight, default=None)


def draw_panel(question: PocketQuestion, replies: Replies, random: Random) -> Panel:
    """Seat two to four experts around a question in any order."""
    seated = _seated(question.domain, sorted(replies), random)
    weights = _weights(question.domain, seated, random)
    masks = random.sample(MASKS, len(seated)) if random.random() < MASKED else None
    return Panel(question, _opinions(seated, weights, replies, masks))


def draw_council(question: PocketQuestion, replies: Replies, random: Random) -> Panel:
    """Seat the question's specialist and two others, the heaviest first."""
    others = random.sample([name for name in sorted(replies) if name != question.domain], COUNCIL - 1)
    lead = random.uniform(0.4, 0.96)
    second = (1 - lead) * random.uniform(0.5, 0.9)
    weights = [round(share, 2) for share in (lead, second, 1 - lead - second)]
    return Panel(question, _opinions([question.domain, *others], weights, replies, None))


def _opinions(
    seated: Sequence[str], weights: Sequence[float], replies: Replies, masks: Sequence[str] | None
) -> tuple[Opinion, ...]:
    known_for = [KNOWN_FOR[name] if masks is None else () for name in seated]
    shown = zip(seated, masks or seated, weights, known_for, strict=True)
    return tuple(Opinion(mask, weight, *replies[name], domains) for name, mask, weight, domains in shown)


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
