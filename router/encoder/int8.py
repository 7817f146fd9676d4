"""Multiply in bytes: weights with a scale a row, and what they are multiplied with in one scale for all channels.

A few channels of BERT's states are twenty times as large as the others, and one scale would leave those two or three
of 127 steps. So the channels are first made alike, dividing them by what the weights are multiplied with in turn
(SmoothQuant, Xiao et al. 2023, 2211.10438, equation 4), about the middle of their bounds. Those are measured when the
model is loaded, and `MARGIN` wider here; beyond them numbers are cut off. What comes out of GELU differs too much from
token to token for that: each token has its own scale there, from the lowest value that GELU has to the token's highest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.encoder.folder import BertShape
from router.encoder.graph import Graph
from router.encoder.ranges import Ranges

Floats = NDArray[np.float32]

SMOOTHING = 0.7
"""How far channels are made alike at the weights' expense: 0 the weights' columns are, 1 the channels."""
GELU_SMOOTHING = 0.5
MARGIN = 1.4
GELU_LEAST = -0.17
"""GELU is nowhere lower."""
SLIGHTEST = 1e-4
"""A channel that never moved is taken to move by this much."""


class BytesGraph(Graph):
    """Products of bytes, sums and everything else in float32.

    Args:
        ranges: of the same weights.
    """

    def __init__(self, shape: BertShape, weights: Mapping[str, Floats], ranges: Ranges) -> None:
        super().__init__(shape, weights)
        self.ranges = ranges

    def products(self, states: Any, names: Sequence[str]) -> list[Any]:
        low, high = self.ranges[names[0]]
        middle, reach = (high + low) / 2, np.maximum((high - low) / 2, SLIGHTEST)
        scales = smoothing(reach, np.concatenate([self.weights[f"{name}.weight"] for name in names]), SMOOTHING)
        step = MARGIN * (reach / scales).max() / 127
        rounded = self._rounded(self._moved(states, scales, -middle), -128 * step, 127 * step)
        found = [self._product(rounded, name, scales, middle) for name in names]
        return [self.op.add(product, bias) for product, bias in found]

    def shrunk(self, grown: Any, name: str) -> Any:
        op, highest = self.op, self.ranges[name][1]
        reach = np.maximum(highest - GELU_LEAST, SLIGHTEST)
        scales = smoothing(reach, self.weights[f"{name}.weight"], GELU_SMOOTHING)
        moved = self._moved(grown, scales, np.full_like(scales, -GELU_LEAST))
        top = op.reduce_max(moved, np.array([-1]), keep_dims=True)
        shares = self._rounded(op.multiply(moved, op.divide(self._float(1), top)), 0, 1)
        product, bias = self._product(shares, name, scales, np.full_like(scales, GELU_LEAST))
        return op.add(op.multiply(product, top), bias)

    def _moved(self, states: Any, scales: Floats, shift: Floats) -> Any:
        """Return (states + shift) / scales, by channel."""
        op = self.op
        return op.add(op.multiply(states, self._float(1 / scales)), self._float(shift / scales))

    def _rounded(self, states: Any, low: float, high: float) -> Any:
        """Return the nearest of 256 values from `low` to `high`, which OpenVINO keeps as bytes."""
        bounds = [self._float(low), self._float(high)]
        return self.op.fake_quantize(states, *bounds, *bounds, 256)

    def _product(self, moved: Any, name: str, scales: Floats, middle: Floats) -> tuple[Any, Any]:
        """Return the product, and the bias that makes up for `middle`, which was taken from the states."""
        op = self.op
        matrix = self.weights[f"{name}.weight"] * scales
        rows = byte_scales(matrix)
        whole = np.round(matrix / rows).astype(np.int8)
        weights = op.multiply(op.convert(op.constant(whole), "f32"), op.constant(rows))
        bias = self.weights[f"{name}.bias"] + (whole * rows) @ (middle / scales)
        return op.matmul(moved, weights, False, True), self._float(bias)

    def _float(self, value: Any) -> Any:
        return self.op.constant(np.asarray(value, dtype=np.float32))


def smoothing(reach: Floats, matrix: Floats, degree: float) -> Floats:
    """Return what channels are divided by, and the matrix's columns multiplied with.

    Args:
        reach: how far each channel's values go, shape [channels].
        matrix: shape [rows, channels].
        degree: 0..1, how far the channels become alike; the columns do so as far as this is below 1.
    """
    columns = np.maximum(np.abs(matrix).max(axis=0), SLIGHTEST)
    return np.asarray(reach**degree / columns ** (1 - degree), dtype=np.float32)


def byte_scales(matrix: Floats) -> Floats:
    """Return what each row is divided by to lie within -127..127, shape [rows, 1]."""
    highest = np.abs(matrix).max(axis=1, keepdims=True)
    return np.asarray(np.where(highest > 0, highest, 1.0) / 127, dtype=np.float32)
