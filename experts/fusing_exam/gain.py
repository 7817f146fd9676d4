"""What fusing gains in use: on councils as routing seats them, a fuser's answer beside the vote's and the heaviest one.

The fuser of a council is the one that does best on all other fifths of the questions, so that nobody is chosen by the
panels it is then counted on. Intervals are bootstrap percentiles over questions, of differences on the same panels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from experts.fusing_exam.figures import Fused, scored
from experts.fusing_exam.panels import Panel
from experts.profile import FuserFigures
from experts.profiling.measured import DIGITS
from experts.types import Domain, ExpertName

FOLDS = 5
DRAWS = 4000
SEED = 17
FEWEST_COUNCILS = 10
SYNTHESIZE, SINGLE = "synthesize", "single"


@dataclass(frozen=True, slots=True)
class Gain:
    """A mean difference of marks, and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Shares right on the same councils: fused, voted, and the heaviest answer as it was; and what fusing gains."""

    councils: int
    synthesize: float
    vote: float
    single: float
    over_single: Gain
    over_vote: Gain


@dataclass(frozen=True, slots=True)
class Advice:
    """What pays on questions whose answers cannot be compared, and by what it was found.

    Args:
        open: the strategy: `synthesize` where it surely beats the heaviest answer, else `single`.
        overall: on all councils.
        contested: on those in which nobody outweighs the others, which decide; None where they are too few, and all do.
    """

    open: str
    overall: Comparison
    contested: Comparison | None


def best_first(figures: Mapping[ExpertName, FuserFigures], domain: Domain | None) -> tuple[ExpertName, ...]:
    """Return the fusers, the best expected in a domain first; None, or one nobody was examined in: over all."""
    return tuple(sorted(figures, key=lambda name: (-figures[name].in_domain(domain), -figures[name].accuracy, name)))


def advice(
    councils: Sequence[Panel],
    fused: Mapping[ExpertName, Sequence[Fused]],
    votes: Mapping[str, float],
    contested: Collection[str],
) -> Advice | None:
    """Return what pays; None where too few councils could say so.

    Args:
        councils: panels as routing seats them.
        fused: what each fuser made of the panels it was shown.
        votes: the mark of what a vote returns, by the council's key.
        contested: keys of the councils that would not be left to their first member anyway.
    """
    synthesized = _synthesized(councils, fused)
    rows = {each.key: (synthesized[each.key], votes[each.key], float(each.heaviest.right)) for each in councils}
    if (overall := _compared([*rows.values()])) is None:
        return None
    close = _compared([row for key, row in rows.items() if key in contested])
    sure = (close or overall).over_single.low > 0
    return Advice(SYNTHESIZE if sure else SINGLE, overall, close)


def advice_body(found: Advice, **more: Any) -> dict[str, Any]:
    """Return the document of an advice; `more` are further facts, kept as they are."""
    contested = None if found.contested is None else _comparison_body(found.contested)
    return {"open": found.open, **_comparison_body(found.overall), "contested": contested, **more}


def _comparison_body(found: Comparison) -> dict[str, Any]:
    shares = {name: round(getattr(found, name), DIGITS) for name in ("synthesize", "vote", "single")}
    gains = {"gain_over_single": found.over_single, "gain_over_vote": found.over_vote}
    told = {
        name: {"mean": round(each.mean, DIGITS), "ci95": [round(each.low, DIGITS), round(each.high, DIGITS)]}
        for name, each in gains.items()
    }
    return {"councils": found.councils, **shares, **told}


def _compared(rows: Sequence[tuple[float, float, float]]) -> Comparison | None:
    """Return the comparison of (fused, voted, heaviest) marks; None of too few."""
    if len(rows) < FEWEST_COUNCILS:
        return None
    written, voted, alone = (fmean(column) for column in zip(*rows, strict=True))
    over_single = gain([fused - single for fused, _, single in rows])
    over_vote = gain([fused - vote for fused, vote, _ in rows])
    return Comparison(len(rows), written, voted, alone, over_single, over_vote)


def gain(differences: Sequence[float]) -> Gain:
    """Return the mean of at least one difference and its bootstrap interval; the same every time."""
    values, counts = np.unique(differences, return_counts=True)
    total = len(differences)
    means = np.random.default_rng(SEED).multinomial(total, counts / total, DRAWS) @ values / total
    low, high = np.percentile(means, [2.5, 97.5])
    return Gain(fmean(differences), float(low), float(high))


def _synthesized(councils: Sequence[Panel], fused: Mapping[ExpertName, Sequence[Fused]]) -> dict[str, float]:
    """Return the mark of each council's fuser, by the council's key: of the one that is best without its fold.

    Where its call failed the heaviest answer stands, as it does in use.
    """
    marks = {name: {row.panel.key: row.score for row in rows} for name, rows in fused.items()}
    figures = [_without(fold, fused) for fold in range(FOLDS)]
    found = {}
    for each in councils:
        ranked = best_first(figures[_fold(each)], each.question.domain)
        alone = float(each.heaviest.right)
        found[each.key] = marks[ranked[0]].get(each.key, alone) if ranked else alone
    return found


def _without(fold: int, fused: Mapping[ExpertName, Sequence[Fused]]) -> dict[ExpertName, FuserFigures]:
    """Return the fusers' figures on all folds but one."""
    found = {name: scored([row for row in rows if _fold(row.panel) != fold]) for name, rows in fused.items()}
    return {name: figures for name, figures in found.items() if figures is not None}


def _fold(panel: Panel) -> int:
    return int(panel.question.key, 16) % FOLDS
