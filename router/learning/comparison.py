"""Is one policy really better than another? Sums that can be added up anywhere, and an honest sentence about them.

Means carry 95 % intervals; two arms differ by Welch's interval of the difference of two means (Welch 1947). With
fewer than `ENOUGH` answers in an arm nothing is called a difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt

from experts.types import ExpertName

Z95 = 1.959964
ENOUGH = 30


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum and sum of squares of some numbers; two of them add up to those of all the numbers together."""

    count: float = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    def with_value(self, value: float | None, sign: int = 1) -> Moments:
        """Return them with one more number, or with `sign` -1 without it again; None changes nothing."""
        return self if value is None else self + Moments(sign, sign * value, sign * value * value)

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    @property
    def error(self) -> float | None:
        """Standard error of the mean; None with fewer than two numbers."""
        if self.count < 2:
            return None
        variance = max(0.0, (self.squares - self.total**2 / self.count) / (self.count - 1))
        return sqrt(variance / self.count)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the mean."""
        if self.mean is None or self.error is None:
            return None
        return self.mean - Z95 * self.error, self.mean + Z95 * self.error


@dataclass(frozen=True, slots=True)
class ArmSums:
    """What happened to the requests of one arm."""

    requests: int = 0
    scores: Moments = Moments()
    cost_usd: Moments = Moments()
    seconds: Moments = Moments()
    experts: Mapping[ExpertName, int] = field(default_factory=dict)

    def __add__(self, other: ArmSums) -> ArmSums:
        return ArmSums(
            self.requests + other.requests,
            self.scores + other.scores,
            self.cost_usd + other.cost_usd,
            self.seconds + other.seconds,
            counted_together(self.experts, other.experts),
        )


@dataclass(frozen=True, slots=True)
class ShadowSums:
    """What a shadow policy would have done: how often it agreed, and how answers scored where it did and did not."""

    requests: int = 0
    agreed: int = 0
    scores_agreed: Moments = Moments()
    scores_differed: Moments = Moments()
    experts: Mapping[ExpertName, int] = field(default_factory=dict)

    def __add__(self, other: ShadowSums) -> ShadowSums:
        return ShadowSums(
            self.requests + other.requests,
            self.agreed + other.agreed,
            self.scores_agreed + other.scores_agreed,
            self.scores_differed + other.scores_differed,
            counted_together(self.experts, other.experts),
        )


@dataclass(frozen=True, slots=True)
class TrialSums:
    """Everything counted about one trial; two processes' sums add up."""

    arms: Mapping[str, ArmSums] = field(default_factory=dict)
    shadow: ShadowSums = ShadowSums()

    def __add__(self, other: TrialSums) -> TrialSums:
        names = dict.fromkeys([*self.arms, *other.arms])
        arms = {name: self.arms.get(name, ArmSums()) + other.arms.get(name, ArmSums()) for name in names}
        return TrialSums(arms, self.shadow + other.shadow)


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of arm b minus mean of arm a, its 95 % interval, and whether that leaves zero out."""

    mean: float
    interval: tuple[float, float]
    significant: bool


def difference(a: Moments, b: Moments) -> Difference | None:
    """Return how much better b did than a; None while either has fewer than two numbers."""
    if a.mean is None or b.mean is None or a.error is None or b.error is None:
        return None
    gap, error = b.mean - a.mean, sqrt(a.error**2 + b.error**2)
    low, high = gap - Z95 * error, gap + Z95 * error
    enough = min(a.count, b.count) >= ENOUGH
    return Difference(gap, (low, high), enough and (low > 0 or high < 0))


def verdict(a: Moments, b: Moments) -> str:
    """Return in a sentence what the feedback says about the two arms."""
    fewest = int(min(a.count, b.count))
    found = difference(a, b)
    if found is None or fewest < ENOUGH:
        return f"too little feedback to compare: {fewest} in the smaller arm, at least {ENOUGH} are needed"
    shown = f"{found.mean:+.3f}, 95 % interval {found.interval[0]:+.3f} to {found.interval[1]:+.3f}"
    if not found.significant:
        return f"the difference is not significant (b minus a {shown})"
    return f"arm {'b' if found.mean > 0 else 'a'} is better (b minus a {shown})"


def counted_together(one: Mapping[ExpertName, int], other: Mapping[ExpertName, int]) -> dict[ExpertName, int]:
    """Return the sum of two counts by expert."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in dict.fromkeys([*one, *other])}
