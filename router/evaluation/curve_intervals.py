"""How sure is a curve? AIQ and the price of the best expert's accuracy in every draw of a paired bootstrap.

A draw takes questions, and every setting of every router is measured on the same ones, so that the difference of two
routers' figures in a draw is a paired one. The range of costs and the best expert's figures are those of the draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.evaluation.frontier import average_improvement_in_quality
from router.evaluation.intervals import Bootstrap, percentile_interval
from router.evaluation.runs import Floats, Run

DRAWS = 400
"""Fewer than for means: each draw needs a hull of its own."""


@dataclass(frozen=True, slots=True)
class CurveDraws:
    """A curve's figures in each draw, both (draws,).

    Args:
        aiq: mean height of the hull between the cheapest and the dearest single expert.
        ratio: least cost of a setting that is as good as the best single expert, over that expert's cost; inf: never.
    """

    aiq: Floats
    ratio: Floats

    @classmethod
    def of(cls, settings: Sequence[Run], best: Run, single_costs: Floats, bootstrap: Bootstrap) -> CurveDraws:
        """Draw a curve: `settings` are its runs, `single_costs` (n, m) what each expert alone costs, USD."""
        spent = bootstrap.means(np.stack([run.cost for run in settings], axis=1))
        reached = bootstrap.means(np.stack([run.quality for run in settings], axis=1))
        alone = bootstrap.means(single_costs)
        price, level = bootstrap.means(best.cost), bootstrap.means(best.quality)
        aiq = [
            average_improvement_in_quality(costs, qualities, float(each.min()), float(each.max()))
            for costs, qualities, each in zip(spent, reached, alone, strict=True)
        ]
        enough = np.where(reached >= level[:, None], spent, np.inf).min(axis=1)
        return cls(np.array(aiq), enough / price)

    def aiq_interval(self) -> tuple[float, float]:
        """Return the 95 % interval of AIQ."""
        return percentile_interval(self.aiq)

    def ratio_interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the ratio by order statistics; inf where that many draws never get there."""
        ordered = np.sort(self.ratio)
        last = len(ordered) - 1
        return float(ordered[int(np.floor(0.025 * last))]), float(ordered[int(np.ceil(0.975 * last))])

    def lead_interval(self, other: CurveDraws) -> tuple[float, float]:
        """Return the 95 % interval of this curve's AIQ less another's, draw by draw."""
        return percentile_interval(self.aiq - other.aiq)
