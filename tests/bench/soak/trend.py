"""Whether a series of measurements grows: Theil and Sen's slope with its interval, over medians of blocks. Pure.

Measurements of memory follow each other: an interval over single ones would be far too narrow. So the time after the
warm-up is cut into blocks, each block is its median, and the interval (95 %) is over those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import theilslopes

BLOCKS = 24
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Trend:
    """A slope per second with its interval, the median after the warm-up, and the seconds it was looked at."""

    slope: float
    low: float
    high: float
    level: float
    seconds: float

    def grown(self) -> float:
        """Return the growth over those seconds that the interval is sure of; 0 where it may be none."""
        return max(0.0, self.low) * self.seconds


def trend(times: Sequence[float], values: Sequence[float], warm_up: float) -> Trend:
    """Return the trend of the values after `warm_up` seconds.

    Raises:
        ValueError: there are too few of them for blocks.
    """
    kept = [(at, value) for at, value in zip(times, values, strict=True) if at >= warm_up]
    if len(kept) < 2 * BLOCKS:
        raise ValueError(f"{len(kept)} measurements after the warm-up are too few for {BLOCKS} blocks")
    blocks = np.array_split(np.array(kept), BLOCKS)
    middles = np.array([np.median(block, axis=0) for block in blocks])
    slope, _, low, high = theilslopes(middles[:, 1], middles[:, 0], CONFIDENCE)
    seconds = kept[-1][0] - kept[0][0]
    return Trend(float(slope), float(low), float(high), float(np.median(middles[:, 1])), seconds)
