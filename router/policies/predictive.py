"""Predict for each expert whether it will be right.

linear    ridge regression of the outcomes on vectors, words and shapes; one penalty for all experts
factors   the same with coefficients of low rank: experts as points in a space of a few skills, questions as
          directions in it (reduced-rank regression, Izenman 1975; EmbedLLM, 2410.02223, and IRT have this form)
mlp       a small network with one output an expert
best      whichever compares the experts best on questions it was not fitted on
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from router.policies.knn import comparison_error
from router.policies.lesson import Lesson, Reading
from router.policies.smoothing import Floats, squashed

PENALTIES = (100.0, 300.0, 900.0)
RANK = 3
HIDDEN = 32
EPOCHS = 8
SEED = 0


class Linear:
    """Ridge regression; the penalty is chosen by the error of comparisons on left-out folds.

    Args:
        rank: of the coefficients; None is any.
        penalties: to choose from.
    """

    def __init__(self, rank: int | None = None, penalties: tuple[float, ...] = PENALTIES) -> None:
        self.rank, self.penalties = rank, penalties

    def fit(self, lesson: Lesson) -> Self:
        """Learn coefficients of shape [columns, m]."""
        found = {penalty: self._crossed(lesson, penalty) for penalty in self.penalties}
        self.penalty_ = min(found, key=lambda penalty: comparison_error(found[penalty], lesson.scores))
        coefficients = lesson.normal.solve(lesson.scores, self.penalty_)
        if self.rank is not None:
            coefficients = reduced(coefficients, lesson.normal.matrix, self.rank)
        self.coef_ = coefficients.astype(np.float32)
        return self

    def estimate(self, reading: Reading) -> Floats:
        """Return the prediction, within 0..1."""
        return squashed((reading.matrix @ self.coef_).astype(np.float64))

    def cross_estimate(self, lesson: Lesson) -> Floats:
        """Return the predictions of the left-out folds that the penalty was chosen by."""
        return self._crossed(lesson, self.penalty_)

    def _crossed(self, lesson: Lesson, penalty: float) -> Floats:
        found = lesson.normal.cross_fitted(lesson.scores, penalty)
        if self.rank is not None:
            found = lowered(found, self.rank)
        return squashed(found)


class Network:
    """A network with one hidden layer over vectors, shapes and the probability of each category."""

    def __init__(self, hidden: int = HIDDEN, epochs: int = EPOCHS) -> None:
        self.hidden, self.epochs = hidden, epochs

    def fit(self, lesson: Lesson) -> Self:
        """Learn two layers, `inner_` [inputs + 1, hidden] and `outer_` [hidden + 1, m]."""
        self.inner_, self.outer_ = self._layers(_inputs(lesson.reading), lesson.scores)
        return self

    def estimate(self, reading: Reading) -> Floats:
        """Return the network's output, 0..1."""
        return _output(_inputs(reading), self.inner_, self.outer_)

    def cross_estimate(self, lesson: Lesson) -> Floats:
        """Return the outputs of networks fitted without the question's fold."""
        inputs, found = _inputs(lesson.reading), np.empty_like(lesson.scores)
        for fold in np.unique(lesson.folds):
            out = lesson.folds == fold
            found[out] = _output(inputs[out], *self._layers(inputs[~out], lesson.scores[~out]))
        return found

    def _layers(self, inputs: NDArray[np.float32], scores: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        from sklearn.neural_network import MLPRegressor

        network = MLPRegressor(
            hidden_layer_sizes=(self.hidden,),
            alpha=10.0,
            batch_size=min(256, len(inputs)),
            learning_rate_init=2e-3,
            max_iter=self.epochs,
            n_iter_no_change=self.epochs + 1,
            random_state=SEED,
        )
        _quietly(network, inputs, scores)
        weights, biases = network.coefs_, network.intercepts_
        inner, outer = (np.vstack([weight, bias[None, :]]) for weight, bias in zip(weights, biases, strict=True))
        return inner.astype(np.float32), outer.astype(np.float32)


def reduced(coefficients: Floats, matrix: NDArray[np.float32], rank: int) -> Floats:
    """Return coefficients (without the constant) of that rank whose predictions come closest to theirs."""
    if coefficients.shape[1] <= rank:
        return coefficients
    slopes = coefficients[:-1]
    kept = _kept(matrix[:, :-1] @ slopes, rank)
    return np.vstack([slopes @ kept, coefficients[-1:]])


def lowered(estimates: Floats, rank: int) -> Floats:
    """Return estimates whose spread around the experts' means has that rank."""
    if estimates.shape[1] <= rank:
        return estimates
    means = estimates.mean(axis=0)
    return np.asarray(means + (estimates - means) @ _kept(estimates - means, rank))


def _kept(spread: Floats, rank: int) -> Floats:
    """Return the projection of experts, shape [m, m], on the directions in which they differ most."""
    _, directions = np.linalg.eigh(spread.T @ spread)
    return np.asarray(directions[:, -rank:] @ directions[:, -rank:].T)


def _inputs(reading: Reading) -> NDArray[np.float32]:
    width = reading.features.vectors.shape[1]
    shapes = reading.matrix[:, width + reading.features.words.shape[1] : -1]
    return np.hstack([4 * reading.matrix[:, :width], 6 * shapes, 2 * reading.posterior]).astype(np.float32)


def _output(inputs: NDArray[np.float32], inner: NDArray[np.float32], outer: NDArray[np.float32]) -> Floats:
    hidden = np.maximum(inputs @ inner[:-1] + inner[-1], 0.0)
    return squashed((hidden @ outer[:-1] + outer[-1]).astype(np.float64))


def _quietly(network: Any, inputs: NDArray[np.float32], scores: Floats) -> None:
    """Fit for the given number of passes; that it has not converged by then is the point (early stopping)."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(inputs, scores if scores.shape[1] > 1 else scores.ravel())
