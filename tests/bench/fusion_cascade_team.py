"""What a team's recorded answers show to whoever checks them: cheap experts in the order of asking, then a strong one.

    Team        which experts, of which table
    Table       the questions of a table that every expert of its teams was measured on, read once, fitted fold by fold
    Recorded    what is known of a team's questions

The router's estimates of a training question are cross-fitted; those of a test question are learned without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.verification import weakness
from experts.types import CallFacts, ExpertAnswer, ExpertName, Message, Usage
from router.evaluation.runs import Floats, Indices
from router.evaluation.votes import code_answers, luck
from router.features import Features
from router.policies.fitted import Basis
from router.policies.lesson import by_turns
from router.policies.predictive import Linear
from router.training.outcomes import CHARACTERS_PER_TOKEN
from router.training.prompts import read_rows
from tests.bench.routing import FeatureStore
from tests.bench.routing_folds import folds
from tests.bench.routing_tables import Pool, Remembered, read_pool

ASKED_FOR = {"zeroeval": "\nGive the final answer in the field `answer` of a JSON object."}
"""What the recorded prompts of a table said about the answer's form, where its questions do not."""


class Team(NamedTuple):
    """Who is asked in turn; `strong` is whose accuracy is to be reached."""

    table: str
    cheap: tuple[ExpertName, ...]
    strong: ExpertName

    @property
    def members(self) -> tuple[ExpertName, ...]:
        return (*self.cheap, self.strong)

    @property
    def name(self) -> str:
        return f"{self.table}: {', '.join(self.cheap)} -> {self.strong}"


@dataclass(frozen=True, slots=True)
class Recorded:
    """n questions to k cheap experts and a strong one, who is the last column.

    Args:
        scores: (n, k + 1).
        costs: (n, k + 1), USD.
        codes: (n, k + 1), equal in a row where the final answers are; -1 is none.
        weak: (n, k), whether the text looks weak without asking anybody; False where no texts were recorded.
        lengths: (n, k), logarithm of the answer's characters.
        right: (n, k + 1), the router's probability that each expert is right.
        luck: how often two wrong experts agree, on training questions.
    """

    scores: Floats
    costs: Floats
    codes: Indices
    weak: NDArray[np.bool_]
    lengths: Floats
    right: Floats
    luck: float

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, mask: NDArray[np.bool_]) -> Recorded:
        """Return some of the questions."""
        parts = {name: getattr(self, name)[mask] for name in ("scores", "costs", "codes", "weak", "lengths", "right")}
        return replace(self, **parts)


class Table:
    """The questions that every expert of some teams was measured on, and the router's estimates fold by fold."""

    def __init__(self, data: Path, name: str, teams: Sequence[Team], encoder: Remembered) -> None:
        experts = list(dict.fromkeys(expert for team in teams for expert in team.members))
        self.pool = read_pool(data, {"zeroeval": "zeroeval_small6"}.get(name, name), experts, encoder)
        texts = read_texts(data / name / "answers.parquet")
        asked = {
            key: ({"role": "user", "content": text + ASKED_FOR.get(name, "")},)
            for key, text in zip(self.pool.outcomes.ids, self.pool.outcomes.texts, strict=True)
        }
        cheap = dict.fromkeys(expert for team in teams for expert in team.cheap)
        self.with_texts = {expert for expert, _ in texts}
        self._weak = {expert: weak_by_signs(expert, texts, asked) for expert in cheap}
        features = FeatureStore().of(self.pool)
        self._folds = [(test, *_estimates(self.pool, test, features)) for test in folds(self.stems)]

    @property
    def stems(self) -> NDArray[np.int64]:
        """Equal for questions that are one, (n,)."""
        return self.pool.outcomes.stems

    def known(self, team: Team) -> Iterator[tuple[NDArray[np.bool_], Recorded, Recorded]]:
        """Yield each fold's mask of test questions, and what is known of its training and test questions."""
        columns = [self.pool.experts.index(expert) for expert in team.members]
        whole = self._recorded(team, columns)
        for test, crossed, learned in self._folds:
            train = replace(whole.where(~test), right=crossed[:, columns])
            by_luck = luck(train.scores, train.codes)
            yield (
                test,
                replace(train, luck=by_luck),
                replace(whole.where(test), right=learned[:, columns], luck=by_luck),
            )

    def _recorded(self, team: Team, columns: Sequence[int]) -> Recorded:
        outcomes = self.pool.outcomes
        assert outcomes.answers is not None
        return Recorded(
            scores=outcomes.scores[:, columns],
            costs=outcomes.costs[:, columns],
            codes=code_answers(outcomes.answers[:, columns]),
            weak=np.stack([self._weak[expert] for expert in team.cheap], axis=1),
            lengths=np.log1p(np.stack([_characters(self.pool, column) for column in columns[:-1]], axis=1)),
            right=np.zeros((len(outcomes), len(columns))),
            luck=0.0,
        )


def _estimates(pool: Pool, test: NDArray[np.bool_], features: Features) -> tuple[Floats, Floats]:
    """Return the router's estimates of the training questions, cross-fitted, and of the test questions."""
    outcomes, basis = pool.outcomes.where(~test), Basis()
    lesson = basis.fit(features.where(~test), outcomes.scores, outcomes.categories, by_turns(outcomes.stems))
    line = Linear().fit(lesson)
    return line.cross_estimate(lesson), line.estimate(basis.read(features.where(test)))


def read_texts(path: Path) -> dict[tuple[ExpertName, str], str]:
    """Return (expert, question) -> the recorded answer."""
    return {(str(row["model_id"]), str(row["question_id"])): str(row["text"]) for row in read_rows(path)}


def weak_by_signs(
    expert: ExpertName, texts: Mapping[tuple[ExpertName, str], str], asked: Mapping[str, tuple[Message, ...]]
) -> NDArray[np.bool_]:
    """Return whether each answer of an expert looks weak (n,); what has no text does not."""
    found = []
    for question, messages in asked.items():
        text = texts.get((expert, question))
        found.append(text is not None and weakness(whole(expert, text), messages) is not None)
    return np.array(found, dtype=bool)


def whole(expert: ExpertName, text: str) -> ExpertAnswer:
    """Return a recorded text as an expert's whole answer."""
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    return ExpertAnswer(expert, body, text, "stop", Usage(), CallFacts(expert))


def _characters(pool: Pool, column: int) -> Floats:
    """Return the length of an expert's answers, from what they cost."""
    read, written = pool.outcomes.prices[pool.experts[column]]
    tokens = pool.outcomes.costs[:, column] * 1e6 - pool.outcomes.in_chars / CHARACTERS_PER_TOKEN * read
    return np.asarray(np.maximum(tokens / written, 0.0) * CHARACTERS_PER_TOKEN)
