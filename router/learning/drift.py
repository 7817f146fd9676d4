"""Notice that an expert is no longer as good, or as bad, in a domain as it used to be.

Page's cumulative sums in both directions (Page 1954; Hinkley 1971) on the error of the measured skill, score minus
estimate. The mean error is learnt from the series itself, so a profile that was always a little off raises no alarm;
only a change does. Answers count by the probability that they are about the domain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from router.learning.rule import DriftRule

FELL, ROSE = "fell", "rose"


@dataclass(frozen=True, slots=True)
class Detector:
    """The sums of one expert in one domain.

    Args:
        count: answers seen, by probability.
        mean: their mean error.
        fell, rose: sum of surprises in each direction since the sum was last zero.
        fell_since, rose_since: version of the state at which that was.
    """

    count: float = 0.0
    mean: float = 0.0
    fell: float = 0.0
    rose: float = 0.0
    fell_since: int = 0
    rose_since: int = 0


def noticed(
    detector: Detector, error: float, weight: float, version: int, rule: DriftRule
) -> tuple[Detector, str | None]:
    """Return the detector after one more error, and `FELL` or `ROSE` when that is an alarm.

    After an alarm the caller starts a fresh detector: what comes now is the new usual.

    Args:
        error: score minus estimate, -1..1.
        weight: how much the answer is about the domain and counts, 0..1.
        version: the state's version, to say later since when it went wrong.
    """
    count = detector.count + weight
    mean = detector.mean + (error - detector.mean) * (weight / count if count else 0.0)
    surprise = error - mean
    rose = max(0.0, detector.rose + weight * (surprise - rule.slack))
    fell = max(0.0, detector.fell + weight * (-surprise - rule.slack))
    if count < rule.warm_up:
        return Detector(count, mean, fell_since=version, rose_since=version), None
    after = replace(
        detector,
        count=count,
        mean=mean,
        rose=rose,
        fell=fell,
        rose_since=detector.rose_since if detector.rose else version,
        fell_since=detector.fell_since if detector.fell else version,
    )
    direction = FELL if fell > rule.threshold else ROSE if rose > rule.threshold else None
    return after, direction
