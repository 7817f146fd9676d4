"""What was learnt, as logits added to what was measured: per expert and domain, and per expert everywhere.

A logit keeps probabilities between 0 and 1, is bounded by clipping, adds to a fitted policy's estimate as well as to
a profile's skill, and leaves no trace when taken away again: with all offsets at zero nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import exp, log
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from experts.profile import EVERYWHERE, SkillProfile
from experts.types import Domain, ExpertName

Offsets: TypeAlias = Mapping[ExpertName, Mapping[Domain, float]]
"""Logits by expert and domain; `EVERYWHERE` holds for every domain and is already weighted by `shared`."""

NOTHING: Mapping[Domain, float] = MappingProxyType({})
CERTAIN = 1e-4


def logit(probability: float) -> float:
    """Return log odds; probabilities closer than 0.0001 to 0 or 1 are moved there first."""
    clipped = min(1 - CERTAIN, max(CERTAIN, probability))
    return log(clipped / (1 - clipped))


def sigmoid(odds: float) -> float:
    """Return the probability of these log odds."""
    return 1 / (1 + exp(-odds))


def shifted(probability: float, shift: float) -> float:
    """Return the probability moved by `shift` logits; exactly itself when there is no shift."""
    return sigmoid(logit(probability) + shift) if shift else probability


def overlaid(profiles: Iterable[SkillProfile], offsets: Offsets) -> tuple[SkillProfile, ...]:
    """Return the profiles with what was learnt about each expert; those nothing was learnt about are untouched."""
    return tuple(
        replace(profile, learned=offsets[profile.expert]) if profile.expert in offsets else profile
        for profile in profiles
    )


def taught(
    estimates: Mapping[ExpertName, float], profiles: Iterable[SkillProfile], domains: Mapping[Domain, float]
) -> dict[ExpertName, float]:
    """Return one query's estimates with what was learnt about each expert in the query's domains."""
    shifts = {
        profile.expert: sum(probability * profile.shift(domain) for domain, probability in domains.items())
        for profile in profiles
        if profile.learned and profile.expert in estimates
    }
    return {expert: shifted(estimate, shifts.get(expert, 0.0)) for expert, estimate in estimates.items()}


def corrected(
    estimates: NDArray[np.floating], posterior: NDArray[np.floating], offsets: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return fitted estimates with what was learnt online added to their log odds.

    Args:
        estimates: P(right) by query and expert, shape [n, m].
        posterior: P(domain) by query, shape [n, d].
        offsets: logits by expert and domain, shape [m, d]; see `offset_table`.
    """
    clipped = np.clip(np.asarray(estimates, dtype=np.float64), CERTAIN, 1 - CERTAIN)
    odds = np.log(clipped / (1 - clipped)) + np.asarray(posterior, dtype=np.float64) @ np.asarray(offsets).T
    return np.asarray(1 / (1 + np.exp(-odds)), dtype=np.float64)


def offset_table(profiles: Iterable[SkillProfile], domains: Iterable[Domain]) -> NDArray[np.float64]:
    """Return what the profiles carry as logits by expert and domain, shape [m, d], `EVERYWHERE` added in."""
    names = list(domains)
    return np.array([[profile.shift(domain) for domain in names] for profile in profiles], dtype=np.float64)


__all__ = ["EVERYWHERE", "Offsets", "corrected", "logit", "offset_table", "overlaid", "shifted", "sigmoid", "taught"]
