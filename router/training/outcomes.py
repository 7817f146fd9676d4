"""Recorded outcomes: which expert answered which question rightly, at what cost. Read from tables, kept as arrays.

    questions   question_id, question | messages, options?, category | task | benchmark | domain?, split | role?,
                in_chars?
    outcomes    question_id, model_id, correct | score, pred?, out_chars?
    models      model_id, price_in?, price_out?, params_active_b?

An outcome that is absent was not measured; it is neither right nor wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from experts.errors import ConfigError
from experts.types import ExpertName
from router.conversation import read_turns
from router.training.prompts import read_rows, with_options

CATEGORY_COLUMNS = ("category", "task", "benchmark", "domain")
"""Where a question's label is looked for, finest first."""
STEM_LENGTH = 300
USUAL_ANSWER_CHARACTERS = 800.0
CHARACTERS_PER_TOKEN = 4
DEV_SHARE = 5

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What n questions did to m experts.

    Args:
        ids: the questions' ids.
        texts: what an expert would be sent: the question and its options, never the answer or the label.
        categories: shape [n], '' where the table has no label.
        splits: shape [n].
        stems: shape [n], equal for questions whose first 300 letters and digits agree; they are one question.
        keys: shape [n], a short hash of the stem, comparable between tables and with what an artifact remembers.
        experts: the columns' names.
        scores: shape [n, m], 0..1, nan where not measured.
        answers: shape [n, m], the extracted answer or None; None altogether when nothing was recorded.
        costs: shape [n, m], USD a query, nan without a price.
        in_chars: shape [n], length of the prompt.
        parameters: active parameters in billions, where known.
        prices: USD per million tokens, read and written, where known.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    categories: NDArray[np.str_]
    splits: NDArray[np.str_]
    stems: NDArray[np.int64]
    keys: NDArray[np.str_]
    experts: tuple[ExpertName, ...]
    scores: NDArray[np.float64]
    answers: NDArray[np.object_] | None
    costs: NDArray[np.float64]
    in_chars: NDArray[np.float64]
    parameters: Mapping[ExpertName, float] = field(default_factory=dict)
    prices: Mapping[ExpertName, tuple[float, float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def where(self, mask: NDArray[Any]) -> Outcomes:
        """Return the questions that a boolean mask, or a list of places, selects."""
        places = np.arange(len(self))[mask]
        return replace(
            self,
            ids=tuple(self.ids[place] for place in places),
            texts=tuple(self.texts[place] for place in places),
            categories=self.categories[places],
            splits=self.splits[places],
            stems=self.stems[places],
            keys=self.keys[places],
            scores=self.scores[places],
            answers=None if self.answers is None else self.answers[places],
            costs=self.costs[places],
            in_chars=self.in_chars[places],
        )

    def of_split(self, *names: str) -> Outcomes:
        """Return the questions of these splits.

        Raises:
            ConfigError: there are none; the message names the splits that exist.
        """
        mask = np.asarray(np.isin(self.splits, names))
        if not mask.any():
            found = ", ".join(f"{name} ({(self.splits == name).sum()})" for name in sorted(set(self.splits)))
            raise ConfigError(
                f"No question of the split '{', '.join(names)}'; the table has {found or 'no questions'}."
            )
        return self.where(mask)

    def complete(self) -> Outcomes:
        """Return the questions that every expert was measured on."""
        return self.where(np.asarray(~np.isnan(self.scores).any(axis=1)))


def read_outcomes(
    questions: Sequence[Path],
    outcomes: Sequence[Path],
    models: Sequence[Path] = (),
    experts: Sequence[ExpertName] | None = None,
) -> Outcomes:
    """Read the tables and line them up; without `experts` every model of the outcomes is one.

    Without a column `split` or `role`, a fifth of the questions is `dev` by a hash of their stem.

    Raises:
        ConfigError: a file cannot be read, lacks a column, or no outcome fits a question or an expert.
    """
    asked = _read(questions, {"question_id"}, "questions")
    recorded = _read(outcomes, {"question_id", "model_id"}, "outcomes")
    names = _experts(recorded, experts)
    places = {name: place for place, name in enumerate(names)}
    kept = [row for row in recorded if row["model_id"] in places]
    answered = {str(row["question_id"]) for row in kept}
    rows = [row for row in asked if str(row["question_id"]) in answered]
    if not rows:
        raise ConfigError("No outcome belongs to any of the questions: compare the two columns question_id.")
    return _assemble(rows, kept, names, _models(models, names))


def stem(text: str) -> str:
    """Return the first letters and digits of a text, by which duplicates are recognised."""
    return re.sub(r"[\W_]+", "", text.lower())[:STEM_LENGTH]


def question_text(row: Row) -> str:
    """Return what an expert would be sent: the question, or the conversation's user messages, and the options.

    Raises:
        ConfigError: the row has neither.
    """
    options = _parsed(row.get("options"))
    messages = _parsed(row.get("messages"))
    if row.get("question"):
        text = str(row["question"])
    elif isinstance(messages, list) and messages:
        text = "\n".join(turn.text for turn in read_turns(messages))
    else:
        raise ConfigError(f"Question {row.get('question_id')} has neither `question` nor `messages`.")
    return with_options(text, [str(option) for option in options]) if isinstance(options, list) else text


def _read(paths: Sequence[Path], columns: set[str], what: str) -> list[Row]:
    rows: list[Row] = []
    for path in paths:
        table = list(read_rows(path))
        if table and not columns <= table[0].keys():
            lacking = ", ".join(sorted(columns - table[0].keys()))
            raise ConfigError(f"{path} ({what}) lacks the column {lacking}; it has {', '.join(sorted(table[0]))}.")
        rows += table
    if not rows:
        raise ConfigError(f"The {what} hold no rows.")
    return rows


def _experts(recorded: Iterable[Row], asked: Sequence[ExpertName] | None) -> tuple[ExpertName, ...]:
    known = dict.fromkeys(str(row["model_id"]) for row in recorded)
    if asked is None:
        return tuple(known)
    strangers = [name for name in asked if name not in known]
    if strangers:
        raise ConfigError(f"The outcomes hold nothing of {', '.join(strangers)}; they hold {', '.join(sorted(known))}.")
    return tuple(dict.fromkeys(asked))


def _models(paths: Sequence[Path], names: Sequence[ExpertName]) -> dict[ExpertName, Row]:
    rows = _read(paths, {"model_id"}, "models") if paths else []
    return {str(row["model_id"]): row for row in rows if row["model_id"] in names}


def _assemble(
    rows: Sequence[Row], recorded: Sequence[Row], names: tuple[ExpertName, ...], models: Mapping[ExpertName, Row]
) -> Outcomes:
    texts = tuple(question_text(row) for row in rows)
    asked = [str(row.get("question") or text) for row, text in zip(rows, texts, strict=True)]
    keys = [sha256((stem(text) or text).encode()).hexdigest()[:16] for text in asked]
    in_chars = np.array([_number(row.get("in_chars"), float(len(text))) for row, text in zip(rows, texts, strict=True)])
    place = {str(row["question_id"]): index for index, row in enumerate(rows)}
    column = {name: index for index, name in enumerate(names)}
    scores, lengths = np.full((2, len(rows), len(names)), math.nan)
    answers = np.full((len(rows), len(names)), None, dtype=object)
    for row in recorded:
        if (at := place.get(str(row["question_id"]))) is not None:
            to = column[str(row["model_id"])]
            scores[at, to] = _number(row["correct"] if row.get("correct") is not None else row.get("score"), math.nan)
            lengths[at, to] = _number(row.get("out_chars"), USUAL_ANSWER_CHARACTERS)
            answers[at, to] = _answer(row.get("pred"))
    prices = {name: found for name, row in models.items() if (found := _prices(row)) is not None}
    return Outcomes(
        ids=tuple(place),
        texts=texts,
        categories=np.array([_category(row) for row in rows]),
        splits=np.array([_split(row, key) for row, key in zip(rows, asked, strict=True)]),
        stems=_numbered(keys),
        keys=np.array(keys),
        experts=names,
        scores=scores,
        answers=answers if any("pred" in row for row in recorded[:1]) else None,
        costs=_costs(in_chars, lengths, [prices.get(name, (math.nan, math.nan)) for name in names]),
        in_chars=in_chars,
        parameters={
            name: size for name, row in models.items() if (size := _number(row.get("params_active_b"), 0.0)) > 0
        },
        prices=prices,
    )


def _costs(
    in_chars: NDArray[np.float64], lengths: NDArray[np.float64], prices: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """Return USD a query: tokens read and written, four characters each, times their price."""
    read, written = np.array(prices).T
    usd_per_million = in_chars[:, None] / CHARACTERS_PER_TOKEN * read + lengths / CHARACTERS_PER_TOKEN * written
    return np.asarray(usd_per_million / 1e6)


def _prices(row: Row) -> tuple[float, float] | None:
    read, written = _number(row.get("price_in"), math.nan), _number(row.get("price_out"), math.nan)
    return None if math.isnan(read) or math.isnan(written) else (read, written)


def _numbered(keys: Sequence[str]) -> NDArray[np.int64]:
    places: dict[str, int] = {}
    return np.array([places.setdefault(key, len(places)) for key in keys], dtype=np.int64)


def _category(row: Row) -> str:
    return next((str(row[name]) for name in CATEGORY_COLUMNS if row.get(name)), "")


def _split(row: Row, text: str) -> str:
    named = row.get("split") or row.get("role")
    if named:
        return str(named)
    digest = int.from_bytes(sha256(stem(text).encode()).digest()[:4])
    return "train" if digest % DEV_SHARE else "dev"


def _answer(value: Any) -> str | None:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value)


def _number(value: Any, otherwise: float) -> float:
    """Return a number, true and false as 1 and 0; empty cells are `otherwise`.

    Raises:
        ConfigError: the cell holds something else.
    """
    if value is None or value == "":
        return otherwise
    words = {"true": 1.0, "false": 0.0}
    try:
        number = words[value.lower()] if isinstance(value, str) and value.lower() in words else float(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"'{value}' should be a number.") from error
    return otherwise if math.isnan(number) else number


def _parsed(value: Any) -> Any:
    """Return a list as it is, and the list in a CSV cell that holds one as JSON."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return None
    return value
