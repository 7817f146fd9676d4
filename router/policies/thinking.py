"""Whether an expert should think about this query: an expert in one mode is an arm of its own.

`auto` turns thinking on only where it was measured to pay: the expected gain over the query's domains, of
which only those count whose 95 % interval lies above 0, has to be worth the tokens it takes (Think Only When
You Need, 2505.14631; KAT-V1, 2507.08297). An expert without such measurements is left as its server has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import NamedTuple

from experts.profile import SkillProfile, ThinkingGain, ThinkingSwitch
from experts.types import Domain
from router.types import Thinking

CONFIDENCE_Z = 1.96


class Mode(NamedTuple):
    """A way to ask an expert: what its switch is set to, what that adds to quality, how much longer it writes."""

    thinking: Thinking
    gain: float
    longer: float


AS_IT_IS = (Mode("auto", 0.0, 1.0),)


def modes(profile: SkillProfile, asked: Thinking, domains: Mapping[Domain, float]) -> Sequence[Mode]:
    """Return the modes that may be chosen, the cheapest first; never empty."""
    switch = profile.thinking
    if switch is None or (asked == "auto" and not switch.gain):
        return AS_IT_IS
    on = Mode("on", expected_gain(switch, domains), switch.token_factor)
    off = Mode("off", 0.0, 1.0)
    return (on,) if asked == "on" else (off,) if asked == "off" else (off, on)


def expected_gain(switch: ThinkingSwitch, domains: Mapping[Domain, float]) -> float:
    """Return the gain in accuracy to expect, over the domains in which it is sure to exist."""
    return sum(p * switch.gain[d].accuracy for d, p in domains.items() if d in switch.gain and is_sure(switch.gain[d]))


def is_sure(gain: ThinkingGain) -> bool:
    """Say whether the gain's 95 % interval excludes 0, from above or from below.

    The variance of a paired difference is the share of changed answers less the gain's square.
    """
    variance = max(gain.changed, abs(gain.accuracy)) - gain.accuracy**2
    return abs(gain.accuracy) > CONFIDENCE_Z * sqrt(variance / gain.count)
