"""What the figures mean: whether to route at all, and what is wrong with the measurement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from router.evaluation.controls import shared_questions
from router.evaluation.rows import Row
from router.evaluation.trial import Trial

SAME_QUESTIONS = 0.5
"""From this share of test questions seen in training on, the measurement is of memory, not of routing."""
FEW_TEST, FEW_TRAIN, FEW_PER_CATEGORY = 200, 400, 10
NOT_RANKED = ("random", "best_single", "oracle", "true_domain")


def recommendation(rows: Sequence[Row], trial: Trial) -> dict[str, Any]:
    """Return `use` ("routing" or "single"), `policy`, `expert` and a sentence.

    Judged is `auto`, or the best policy where it was not measured. Its gain must have an interval above zero,
    else the single expert is the advice; votes are mentioned where they pay.
    """
    best = trial.experts[trial.best]
    judged = _judged(rows)
    if judged is None:
        return {"use": "single", "policy": None, "expert": best, "text": f"No policy was measured; ask {best}."}
    low, high = judged["gain_ci95"]
    figures = f"{judged['policy']} gains {_points(judged['gain'])} [{_points(low)}, {_points(high)}] points over {best}"
    if low > 0:
        text = f"Route: {figures}."
        use = "routing"
    else:
        use = "single"
        text = f"Do not route for accuracy: {figures}; the interval touches zero. Ask {best} alone."
    return {
        "use": use,
        "policy": judged["policy"],
        "expert": best,
        "text": text + _votes(rows, judged) + _savings(judged, use),
    }


def _judged(rows: Sequence[Row]) -> Row | None:
    policies = [row for row in rows if row["policy"] not in NOT_RANKED and "+vote" not in row["policy"]]
    named = [row for row in policies if row["policy"] == "auto"]
    return max(named or policies, key=lambda row: float(row["gain"]), default=None)


def _votes(rows: Sequence[Row], judged: Row) -> str:
    votes = [row for row in rows if row["policy"].startswith(f"{judged['policy']}+vote")]
    paying = [row for row in votes if not row["refused"] and row["gain_over_one_ci95"][0] > 0]
    if votes and all(row["refused"] for row in votes):
        return " Asking several experts did not pay on the training questions, so votes are refused."
    if not paying:
        return ""
    top = max(paying, key=lambda row: float(row["accuracy"]))
    asked = f"{top['mean_experts']:.2f} experts a question"
    return f" Asking several pays: {top['policy']} gains {_points(top['gain'])} points with {asked}."


def _savings(row: Row, use: str) -> str:
    ratio = row.get("cost_ratio_at_best_single")
    if ratio is None or ratio >= 0.95:
        return ""
    if use == "single":
        return f" Where cost counts, routing still pays: the same accuracy at {ratio:.0%} of the cost."
    return f" With cost in view it reaches the best single expert's accuracy at {ratio:.0%} of its cost."


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"


def alarms(trial: Trial, *, dropped: int = 0) -> list[dict[str, str]]:
    """Return what makes the figures worth less than they look: `{"name", "text"}`, the gravest first."""
    return [*_leaks(trial), *_too_few(trial), *_gaps(trial, dropped)]


def _leaks(trial: Trial) -> list[dict[str, str]]:
    share = shared_questions(trial.train, trial.test)
    if share >= SAME_QUESTIONS:
        text = f"{share:.0%} of these questions were fitted on: this measures memory, not routing."
        return [{"name": "train_is_test", "text": text}]
    if share > 0:
        text = f"{share:.1%} of these questions have a twin among those fitted on; split by question first."
        return [{"name": "duplicates_across_splits", "text": text}]
    return []


def _too_few(trial: Trial) -> list[dict[str, str]]:
    found = []
    if len(trial.test) < FEW_TEST:
        width = 1.0 / np.sqrt(len(trial.test))
        text = f"{len(trial.test)} questions are few: a gain under {100 * width:.0f} points cannot be told from luck."
        found.append(("too_few_questions", text))
    if len(trial.train) < FEW_TRAIN:
        text = f"{len(trial.train)} training questions are few: under about {FEW_TRAIN}, the best single expert wins."
        found.append(("too_few_training_questions", text))
    names, counts = np.unique(trial.train.categories, return_counts=True)
    rare = [str(name) for name, count in zip(names, counts, strict=True) if name and count < FEW_PER_CATEGORY]
    if rare:
        text = f"Fewer than {FEW_PER_CATEGORY} training questions of: {', '.join(rare)}."
        found.append(("too_few_of_a_category", text))
    return [{"name": name, "text": text} for name, text in found]


def _gaps(trial: Trial, dropped: int) -> list[dict[str, str]]:
    found = []
    if dropped:
        text = f"{dropped} questions were left out: not every expert was measured on them."
        found.append({"name": "questions_left_out", "text": text})
    if not trial.priced:
        text = "An expert has no price: costs, AIQ and curves are left out."
        found.append({"name": "unpriced", "text": text})
    return found
