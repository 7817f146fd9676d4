"""BERT (Devlin et al. 2018, 1810.04805) in OpenVINO's operations, from its weights: no torch, no export.

    Graph              products of floats
      RangeGraph       the same, and between what bounds each number lies before it is multiplied   ranges.py
      BytesGraph       products of bytes, which needs those bounds                                  int8.py

Shapes in the docstrings: B texts, S tokens, H width, A heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.encoder.folder import BertShape

FAR = -1e4
"""Added to the attention of padding, which leaves it none."""


class Graph:
    """Writes the model; another way to multiply is a subclass with its own `products` and `shrunk`."""

    def __init__(self, shape: BertShape, weights: Mapping[str, NDArray[np.float32]]) -> None:
        from openvino import opset13

        self.op, self.shape, self.weights = opset13, shape, weights

    def model(self) -> Any:
        """Return the model: token ids [B, S] and their mask [B, S] -> unit vectors [B, H], then `more_results`."""
        from openvino import Model

        op = self.op
        ids = op.parameter([-1, -1], np.int32, name="ids")
        mask = op.parameter([-1, -1], np.float32, name="mask")
        reach = op.unsqueeze(op.multiply(op.subtract(op.constant(np.float32(1)), mask), np.float32(FAR)), [1, 2])
        states = self._embeddings(ids)
        for layer in range(self.shape.layers):
            states = self._layer(states, reach, f"encoder.layer.{layer}")
        vectors = op.normalize_l2(self._pooled(states, mask), np.array([1]), 1e-12, "max")
        return Model([op.result(each) for each in (vectors, *self.more_results())], [ids, mask], "bert")

    def products(self, states: Any, names: Sequence[str]) -> list[Any]:
        """Return what each of the named layers makes of the same states."""
        op = self.op
        found = [op.matmul(states, self.constant(f"{name}.weight"), False, True) for name in names]
        return [op.add(each, self.constant(f"{name}.bias")) for each, name in zip(found, names, strict=True)]

    def shrunk(self, grown: Any, name: str) -> Any:
        """Return what the named layer makes of states that come out of GELU."""
        return self.products(grown, [name])[0]

    def more_results(self) -> Sequence[Any]:
        """Return what else the model computes."""
        return ()

    def constant(self, name: str) -> Any:
        """Return a parameter of the model, not copied."""
        return self.op.constant(np.ascontiguousarray(self.weights[name]), shared_memory=True)

    def _embeddings(self, ids: Any) -> Any:
        op, words = self.op, self.constant("embeddings.word_embeddings.weight")
        places = self.weights["embeddings.position_embeddings.weight"]
        kind = self.weights["embeddings.token_type_embeddings.weight"][0]
        length = op.gather(op.shape_of(ids), np.array(1), np.array(0))
        counted = op.range(np.array(0), length, np.array(1), "i64")
        positions = op.gather(op.constant(places + kind), counted, np.array(0))
        return self._normalised(op.add(op.gather(words, ids, np.array(0)), positions), "embeddings.LayerNorm")

    def _layer(self, states: Any, reach: Any, name: str) -> Any:
        """Return one transformer layer's output [B, S, H]."""
        op, width = self.op, self.shape.width
        asked = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        parts = [self._heads(each) for each in self.products(states, asked)]
        seen = op.scaled_dot_product_attention(*parts, reach)
        seen = op.reshape(op.transpose(seen, [0, 2, 1, 3]), [0, 0, width], True)
        (change,) = self.products(seen, [f"{name}.attention.output.dense"])
        states = self._normalised(op.add(change, states), f"{name}.attention.output.LayerNorm")
        (grown,) = self.products(states, [f"{name}.intermediate.dense"])
        change = self.shrunk(op.gelu(grown, "erf"), f"{name}.output.dense")
        return self._normalised(op.add(change, states), f"{name}.output.LayerNorm")

    def _heads(self, states: Any) -> Any:
        """Return [B, S, H] as [B, A, S, H / A]."""
        heads, width = self.shape.heads, self.shape.width
        return self.op.transpose(self.op.reshape(states, [0, 0, heads, width // heads], True), [0, 2, 1, 3])

    def _normalised(self, states: Any, name: str) -> Any:
        op = self.op
        unit = op.mvn(states, np.array([-1]), True, self.shape.epsilon, "inside_sqrt")
        return op.add(op.multiply(unit, self.constant(f"{name}.weight")), self.constant(f"{name}.bias"))

    def _pooled(self, states: Any, mask: Any) -> Any:
        op = self.op
        if self.shape.pooling == "first":
            return op.gather(states, np.array(0), np.array(1))
        present = op.unsqueeze(mask, [-1])
        return op.divide(op.reduce_sum(op.multiply(states, present), [1]), op.reduce_sum(present, [1]))
