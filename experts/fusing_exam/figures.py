"""From fused answers to a fuser's figures: the share right where somebody on the panel was, by domain and by kind.

Panels on which everybody is wrong test what a fuser knows, not how it fuses: they are counted apart. Few panels of a
domain are pulled toward the fuser's own mean, as in a profile (`experts.profiling.figures`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from experts.fusing_exam.panels import KINDS, Panel
from experts.profile import FuserFigures
from experts.profiling import Findings, Outcome, findings, wilson
from experts.profiling.measured import DIGITS
from experts.types import Domain


@dataclass(frozen=True, slots=True)
class Fused:
    """What one fuser made of one panel: `score` is its mark, 0 to 1."""

    panel: Panel
    score: float

    @property
    def counts(self) -> bool:
        """Whether somebody on the panel was right, so that fusing could be."""
        return self.panel.kind != "all_wrong"


def scored(fused: Sequence[Fused]) -> FuserFigures | None:
    """Return what a choice between fusers goes by; None without a panel that counts."""
    found = _found(fused)
    if found is None:
        return None
    expected = {domain: share.expected for domain, share in found.domains.items()}
    return FuserFigures(found.overall.accuracy, found.overall.count, expected)


def fuser_body(fused: Sequence[Fused], **more: Any) -> dict[str, Any] | None:
    """Return the document of a fuser's figures; None without a panel that counts.

    Args:
        fused: every panel it was shown.
        more: further facts, kept as they are.
    """
    found = _found(fused)
    if found is None:
        return None
    return {
        "accuracy": round(found.overall.accuracy, DIGITS),
        "count": found.overall.count,
        "ci95": [round(found.overall.low, DIGITS), round(found.overall.high, DIGITS)],
        "expected": {domain: round(share.expected, DIGITS) for domain, share in found.domains.items()},
        "domains": _shares({domain: _scores(fused, domain) for domain in found.domains}),
        "kinds": _shares({kind: [each.score for each in fused if each.panel.kind == kind] for kind in KINDS}),
        **more,
    }


def _found(fused: Sequence[Fused]) -> Findings | None:
    counting = [Outcome(each.panel.question.domain, each.score) for each in fused if each.counts]
    return findings(counting) if counting else None


def _scores(fused: Sequence[Fused], domain: Domain) -> list[float]:
    return [each.score for each in fused if each.counts and each.panel.question.domain == domain]


def _shares(groups: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Return accuracy, count and interval of each group that is not empty."""
    shares = {}
    for name, scores in groups.items():
        if scores:
            low, high = wilson(sum(scores), len(scores))
            interval = [round(low, DIGITS), round(high, DIGITS)]
            shares[name] = {"accuracy": round(fmean(scores), DIGITS), "count": len(scores), "ci95": interval}
    return shares
