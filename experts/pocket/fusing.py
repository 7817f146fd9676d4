"""What the fuser practises on: panels of the trained models' own answers, and panels made up from the tasks.

The made-up panels bring questions without end; the sampled ones bring the mistakes that the models really make.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from experts.pocket.corpus import Conversation
from experts.pocket.exam import DOMAINS, generate, stream
from experts.pocket.panels import PANELISTS, Panel, draw_panel
from experts.pocket.question import PocketQuestion
from experts.pocket.sitting import load_model, load_tokenizer, sit

log = logging.getLogger(__name__)

SAMPLED_PER_DOMAIN = 60
MADE_UP = 0.5
LONGEST_PANEL = 900
"""Characters of a panel's system message beyond which it is left out: long ones teach little for their tokens."""

Replies = dict[str, tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class FusionExercises:
    """An endless supply of panels with a right opinion, and that opinion as the answer to write."""

    sampled: Sequence[tuple[PocketQuestion, Replies]]
    seed: int

    @classmethod
    def from_models(cls, folder: Path, *, seed: int) -> FusionExercises:
        """Let the base and every specialist in the folder answer training questions."""
        questions = [each for domain in DOMAINS for each in generate(domain, "train", SAMPLED_PER_DOMAIN, seed + 2)]
        return cls(replies_to(questions, folder), seed)

    def __iter__(self) -> Iterator[tuple[Conversation, str]]:
        random = Random(self.seed)
        sampled, made_up = self._sampled(random), _made_up(random, self.seed)
        while True:
            panel = next(made_up if random.random() < MADE_UP else sampled)
            best = panel.best()
            conversation = panel.conversation()
            if best is not None and len(conversation[0]["content"]) <= LONGEST_PANEL:
                yield conversation, best.answer

    def _sampled(self, random: Random) -> Iterator[Panel]:
        while True:
            yield draw_panel(*random.choice(self.sampled), random)


def replies_to(questions: Sequence[PocketQuestion], folder: Path) -> list[tuple[PocketQuestion, Replies]]:
    """Return every panelist's graded answer to every question."""
    tokenizer = load_tokenizer(folder)
    replies: list[Replies] = [{} for _ in questions]
    for name in PANELISTS:
        sitting = sit(load_model(folder, name), tokenizer, questions)
        log.info("%s answered %d questions, %.3f right", name, len(questions), sitting.accuracy)
        for reply, answer, right in zip(replies, sitting.answers, sitting.right, strict=True):
            reply[name] = (answer, right)
    return list(zip(questions, replies, strict=True))


def _made_up(random: Random, seed: int) -> Iterator[Panel]:
    """Yield panels where each off-domain expert answers some other question, in its own style."""
    streams = {domain: stream(domain, "train", seed + 3) for domain in DOMAINS}
    while True:
        question = next(streams[random.choice(DOMAINS)])
        replies: Replies = {domain: (next(streams[domain]).response, False) for domain in DOMAINS}
        replies[question.domain] = (question.response, True)
        other = next(streams[question.domain])
        replies["base"] = (other.response, other.answer == question.answer)
        yield draw_panel(question, replies, random)
