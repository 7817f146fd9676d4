"""One observation in, small moves out: online logistic regression on how right each expert turned out.

The correctness is multi-hot (DriftMoE, 2507.18464): of any number of experts it may be known that they were right or
wrong; the others are left alone. With features x = (P(domain), shared), an expert's estimate is
sigmoid(base + offsets . x), and every offset moves against the gradient of the log loss:

    delta = step * trust * (score - estimate) * x

so no move is larger than step * x, whatever anybody says.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from router.learning.rule import LearningRule

Floats: TypeAlias = NDArray[np.float64]
NEGLIGIBLE = 1e-12


def features(posterior: Floats, rule: LearningRule) -> Floats:
    """Return what an offset may be learnt for: each domain, then everywhere; shape [d + 1]."""
    return np.append(posterior, rule.shared)


def estimate(logits: Floats, offsets: Floats, x: Floats) -> Floats:
    """Return P(right) by expert, shape [m], from base log odds [m], offsets [m, d + 1] and features [d + 1]."""
    return np.asarray(1 / (1 + np.exp(-(logits + offsets @ x))))


def moves(offsets: Floats, x: Floats, logits: Floats, scores: Floats, trust: Floats, rule: LearningRule) -> Floats:
    """Return by how much each offset moves, shape [m, d + 1].

    Args:
        offsets: as they are, shape [m, d + 1].
        x: features, shape [d + 1].
        logits: log odds of each expert being right before anything was learnt, shape [m].
        scores: how right each expert was, 0..1; NaN where that is unknown. Shape [m].
        trust: how much each score counts, 0..1, shape [m].
    """
    residual = np.nan_to_num(scores - estimate(logits, offsets, x))
    counted = np.where(np.isnan(scores), 0.0, trust)[:, None]
    wanted = rule.step * counted * residual[:, None] * x - rule.forgetting * counted * x * offsets
    bound = rule.step * x
    stepped = np.clip(wanted, -bound, bound)
    return np.asarray(np.clip(offsets + stepped, -rule.max_shift, rule.max_shift) - offsets)


def within_account(wanted: Floats, net: Floats, others: Floats, cap: float) -> Floats:
    """Return the moves scaled down so that one key's account stays within its limit, column by column.

    An account holds the net moves of one key on one day. Its size in a column is the sum of the absolute values over
    all experts; that bounds how far the key has moved any two experts relative to each other. Size is convex in the
    share that is carried out, so the share returned never exceeds the limit. Moves that shrink an account always pass.

    Args:
        wanted: moves, shape [m, d + 1].
        net: the account of the same experts, shape [m, d + 1].
        others: size of the account over all other experts, shape [d + 1].
        cap: the limit per column.
    """
    before = np.abs(net).sum(axis=0) + others
    after = np.abs(net + wanted).sum(axis=0) + others
    growth = after - before
    room = np.maximum(0.0, cap - before)
    share = np.where(growth > NEGLIGIBLE, np.minimum(1.0, room / np.maximum(growth, NEGLIGIBLE)), 1.0)
    return np.asarray(wanted * share)
