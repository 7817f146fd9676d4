"""From marks to skills: shares with their intervals, per domain and per finer skill, and what to expect of few of them.

Intervals are Wilson's (1927), which hold at the edges, where the usual one says that three of three is certainty;
with marks between 0 and 1 they are wider than needed, as such marks vary less. The expected share pulls each domain
toward the expert's own mean, as strongly as its domains are alike: a beta prior over domains, its weight in questions
by the method of moments (Kleinman 1973, J. Am. Stat. Assoc. 68:46).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from experts.types import Domain

Z95 = 1.959963984540054
USUAL_WEIGHT = 10.0
"""Questions that an expert's own mean counts for where too few domains say how alike they are."""
LEAST_WEIGHT, MOST_WEIGHT = 2.0, 200.0
LEAST_DOMAINS = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question asked and marked.

    Args:
        domain: of the question.
        score: 0 (wrong) to 1 (right).
        skills: finer labels of the question.
        output_tokens: tokens the expert wrote; None when its server did not say.
        latency_ms: from the first attempt to the last token.
        cost_usd: what it cost; None when no price is known.
    """

    domain: Domain
    score: float
    skills: tuple[str, ...] = ()
    output_tokens: int | None = None
    latency_ms: float | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """A share of right answers over `count` questions, its 95 % interval, and what to expect of further ones."""

    accuracy: float
    count: int
    low: float
    high: float
    expected: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What profiling found: shares by domain and by skill, over all, and means of what an answer took."""

    domains: Mapping[Domain, Share]
    skills: Mapping[str, Share]
    overall: Share
    output_tokens: float | None
    latency_ms: float | None
    cost_usd: float | None


def findings(outcomes: Sequence[Outcome]) -> Findings:
    """Return the figures of at least one outcome; domains and skills in alphabetical order."""
    domains = _grouped((outcome.domain, outcome.score) for outcome in outcomes)
    skills = _grouped((skill, outcome.score) for outcome in outcomes for skill in outcome.skills)
    scores = [outcome.score for outcome in outcomes]
    mean = fmean(scores)
    weight = prior_weight([(sum(found), len(found)) for found in domains.values()])
    return Findings(
        domains={name: _share(found, mean, weight) for name, found in domains.items()},
        skills={name: _share(found, mean, weight) for name, found in skills.items()},
        overall=_share(scores, mean, weight),
        output_tokens=_mean(outcome.output_tokens for outcome in outcomes),
        latency_ms=_mean(outcome.latency_ms for outcome in outcomes),
        cost_usd=_mean(outcome.cost_usd for outcome in outcomes),
    )


def wilson(right: float, count: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's interval of a share of `right` in `count`; `z` is the normal quantile, for 95 % by default."""
    share, spread = right / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def prior_weight(groups: Sequence[tuple[float, int]]) -> float:
    """Return how many questions the mean counts for, from (right, count) a group: many where groups are alike.

    The moments give rho, the correlation of two answers of one group; a beta prior of weight w has rho = 1 / (1 + w).
    """
    total = sum(count for _, count in groups)
    mean = sum(right for right, _ in groups) / total
    variance, others = mean * (1 - mean), len(groups) - 1
    room = total - sum(count * count for _, count in groups) / total - others
    if len(groups) < LEAST_DOMAINS or variance <= 0 or room <= 0:
        return USUAL_WEIGHT
    spread = sum(count * (right / count - mean) ** 2 for right, count in groups)
    rho = (spread / variance - others) / room
    return MOST_WEIGHT if rho <= 0 else min(MOST_WEIGHT, max(LEAST_WEIGHT, 1 / rho - 1))


def _share(scores: Sequence[float], mean: float, weight: float) -> Share:
    right, count = math.fsum(scores), len(scores)
    low, high = wilson(right, count)
    return Share(right / count, count, low, high, (right + weight * mean) / (count + weight))


def _grouped(pairs: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, score in pairs:
        found.setdefault(name, []).append(score)
    return dict(sorted(found.items()))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
