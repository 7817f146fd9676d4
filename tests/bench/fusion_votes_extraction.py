"""Does our reading of an answer agree with the one that a table was made with?

answers.parquet holds what models wrote, cut at 6,000 characters; outcomes.parquet what the table's makers read (`pred`,
null where they found nothing). Agreement is the same value, or nothing on both sides. The reading is told what the
question wants and how it asked for it, as the gateway is by the question: the runs of MMLU-Pro were asked to end on
"the answer is (X)", those of ZeroEval to fill in a JSON field "answer".

Two kinds of texts show nothing about a reading, and are counted apart: those that were cut, because their `pred` comes
from a longer text than ours; and, among choices, those whose letter in the table stands nowhere in the text: the
table's makers filled it in.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aggregator.extraction import Wanted, final_answer, normalise
from aggregator.extraction.asked import unit_of
from aggregator.extraction.spelling import in_unit, literal
from router.training.prompts import read_rows
from tests.bench.routing_check import Check

LEAST = 0.99


@dataclass(frozen=True, slots=True)
class Reading:
    """One text as we and as the table's makers read it."""

    kind: str
    model: str
    agrees: bool
    cut: bool
    filled: bool


def agreement(folder: Path) -> list[Check]:
    """Read a table's texts, print where the readings differ most, and return what is asked of them."""
    found = readings(folder)
    told = [each for each in found if not each.cut and not (each.filled and not each.agrees)]
    shares = Counter(each.model for each in told), Counter(each.model for each in told if each.agrees)
    by_model = {model: shares[1][model] / count for model, count in shares[0].items()}
    worst = sorted(by_model, key=lambda model: by_model[model])[:3]
    lost = Counter(
        "cut" if each.cut else "filled in" for each in found if not each.agrees and (each.cut or each.filled)
    )
    print(f"{folder.name}: {len(found)} texts; not to be told from them: {dict(lost)}; "
          f"least agreement: {', '.join(f'{model} {by_model[model]:.4f}' for model in worst)}")  # fmt: skip
    return [
        Check(folder.name, "extraction agrees, all texts", _share(found)),
        Check(
            folder.name, "extraction agrees, texts that show what the table read", _share(told), _mean(told) >= LEAST
        ),
    ]


def readings(folder: Path) -> list[Reading]:
    """Return every text of a table's models, in the order of the table."""
    wanted = {str(row["question_id"]): asked(row) for row in read_rows(folder / "questions.parquet")}
    preds = {(str(row["question_id"]), str(row["model_id"])): row for row in read_rows(folder / "outcomes.parquet")}
    found = []
    for row in read_rows(folder / "answers.parquet"):
        key = str(row["question_id"]), str(row["model_id"])
        if (outcome := preds.get(key)) is not None:
            found.append(_read(str(row["text"]), outcome, wanted[key[0]]))
    return found


def asked(question: Mapping[str, Any]) -> Wanted:
    """Return what a question of one of the tables wants."""
    if question.get("options"):
        return Wanted("choice", tuple(normalise(str(option)) or "" for option in question["options"]), form="said")
    if question.get("benchmark") == "crux":
        return Wanted("literal", form="field")
    return Wanted("number", unit=unit_of(str(question["question"])), form="field")


def _read(text: str, outcome: Mapping[str, Any], wanted: Wanted) -> Reading:
    pred = outcome["pred"] if isinstance(outcome["pred"], str) else None
    ours, theirs = final_answer(text, wanted), _spelled(pred, wanted)
    return Reading(
        kind=wanted.kind,
        model=str(outcome["model_id"]),
        agrees=_rounded(ours, wanted) == _rounded(theirs, wanted),
        cut=int(outcome["out_chars"]) > len(text),
        filled=wanted.kind == "choice" and pred is not None and not re.search(rf"(?<!\w){re.escape(pred)}(?!\w)", text),
    )


def _spelled(pred: str | None, wanted: Wanted) -> str | None:
    if pred is None or wanted.kind == "choice":
        return pred
    return literal(pred) if wanted.kind == "literal" else in_unit(pred, "")


def _rounded(value: str | None, wanted: Wanted) -> str | None:
    """Return a number to the six digits that the table keeps."""
    if value is None or wanted.kind != "number":
        return value
    top, _, bottom = value.partition("/")
    return f"{float(top) / float(bottom or 1):.6g}"


def _mean(found: Sequence[Reading]) -> float:
    return sum(each.agrees for each in found) / max(len(found), 1)


def _share(found: Sequence[Reading]) -> str:
    kinds = sorted({each.kind for each in found})
    parts = [f"{kind} {_mean([each for each in found if each.kind == kind]):.4f}" for kind in kinds]
    return f"{_mean(found):.4f} of {len(found)}" + (f" ({', '.join(parts)})" if len(kinds) > 1 else "")
