"""Run a plain BERT sentence encoder with OpenVINO, its graph written out from the weights: no torch, no export.

Precisions: `int8` keeps weights as bytes with a scale a row, and turns what they are multiplied with into bytes too, a
scale for each `BYTES` numbers of a token (cosine to float32: mean 0.999); all else is float32. `bfloat16` (0.99999) and
`float32` keep to their type. `auto` is int8 on processors that multiply bfloat16 too, which have fast byte products;
else float32.
Texts are padded to a multiple of `GRAIN` tokens and share an inference with others of the same padded length,
so little padding is computed, and few shapes have to be compiled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from router.encoder.base import Vectors
from router.encoder.folder import BertShape

if TYPE_CHECKING:
    from tokenizers import Tokenizer

GRAIN = 8
BYTES = 64
"""Numbers of a token that share a scale when they are turned into bytes."""
PRECISIONS = ("int8", "bfloat16", "float32")
FAR = -1e4
"""Added to the attention of padding, which leaves it none."""
TELEMETRY = "openvino_telemetry"


class Bert:
    """Embeds texts on all the threads that its request may use; for one caller at a time.

    Args:
        tokenizer: cuts texts, without padding.
        request: an inference request of the graph.
        width: of a vector.
        batch: most texts in one inference.
        lanes: the same on one thread each. Side by side they embed more texts a second than all threads together on
            one batch, which wait for each other after every operation; a lone text is done sooner by all of them.
    """

    def __init__(self, tokenizer: Tokenizer, request: Any, width: int, batch: int, lanes: Sequence[Bert] = ()) -> None:
        self._tokenizer = tokenizer
        self._request = request
        self._width = width
        self._batch = batch
        self.lanes = tuple(lanes)

    def __call__(self, texts: Sequence[str]) -> Vectors:
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        vectors = np.empty((len(tokens), self._width), dtype=np.float32)
        for places in alike([len(ids) for ids in tokens], self._batch):
            found = self._request.infer(list(padded([tokens[place] for place in places])))
            vectors[places] = next(iter(found.values()))
        return vectors


def load_bert(
    shape: BertShape,
    weights: Mapping[str, NDArray[np.float32]],
    *,
    threads: int,
    batch: int,
    precision: str = "auto",
) -> Bert:
    """Return a function that embeds texts, with a lane for each thread where there are several.

    Args:
        weights: by the names that BertModel gives them.
        threads: how many one inference may use.
        batch: most texts in one inference.
        precision: one of PRECISIONS, or `auto`.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(shape.folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(shape.longest)
    wide, *rest = _requests(shape, weights, threads, precision)
    lanes = [Bert(tokenizer, request, shape.width, batch) for request in rest]
    return Bert(tokenizer, wide, shape.width, batch, lanes)


def alike(lengths: Sequence[int], batch: int) -> Iterator[list[int]]:
    """Yield the places of texts that are padded to the same length, at most `batch` together."""
    order = sorted(range(len(lengths)), key=lambda place: lengths[place])
    for _, group in groupby(order, key=lambda place: -(-lengths[place] // GRAIN)):
        places = list(group)
        yield from (places[at : at + batch] for at in range(0, len(places), batch))


def padded(tokens: Sequence[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return token ids, 0 where there are none, and 1 where there are, both [texts, padded length]."""
    lengths = np.array([len(ids) for ids in tokens])
    there = np.arange(-(-lengths.max() // GRAIN) * GRAIN)[None, :] < lengths[:, None]
    ids = np.zeros(there.shape, dtype=np.int32)
    ids[there] = np.concatenate([np.asarray(each, dtype=np.int32) for each in tokens])
    return ids, there.astype(np.float32)


def byte_scales(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what each row is divided by to lie within -127..127, shape [rows, 1]."""
    highest = np.abs(matrix).max(axis=1, keepdims=True)
    return np.asarray(np.where(highest > 0, highest, 1.0) / 127, dtype=np.float32)


def _requests(shape: BertShape, weights: Mapping[str, NDArray[np.float32]], threads: int, precision: str) -> list[Any]:
    """Return inference requests of the graph on the CPU: one of all threads; then, of several, one for each."""
    with _without_telemetry():
        import openvino
    core = openvino.Core()
    if precision == "auto":
        able = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = "int8" if able else "float32"
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": BYTES if precision == "int8" else 0,
    }
    model = _Graph(shape, weights, int8=precision == "int8").model()
    together = core.compile_model(model, "CPU", {**settings, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"})
    requests = [together.create_infer_request()]
    if threads > 1:
        apart = core.compile_model(model, "CPU", {**settings, "NUM_STREAMS": threads})
        requests += [apart.create_infer_request() for _ in range(threads)]
    return requests


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Keep OpenVINO from reporting its import to its makers: as if the package that does so were not installed."""
    if TELEMETRY in sys.modules:
        yield
        return
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[TELEMETRY]


class _Graph:
    """Writes BERT (Devlin et al. 2018, 1810.04805) in OpenVINO's operations.

    Shapes: B texts, S tokens, H width, A heads.
    """

    def __init__(self, shape: BertShape, weights: Mapping[str, NDArray[np.float32]], *, int8: bool) -> None:
        from openvino import opset13

        self._op, self._shape, self._weights, self._int8 = opset13, shape, weights, int8

    def model(self) -> Any:
        """Return the model: token ids [B, S] and their mask [B, S] -> unit vectors [B, H]."""
        from openvino import Model

        op = self._op
        ids = op.parameter([-1, -1], np.int32, name="ids")
        mask = op.parameter([-1, -1], np.float32, name="mask")
        reach = op.unsqueeze(op.multiply(op.subtract(op.constant(np.float32(1)), mask), np.float32(FAR)), [1, 2])
        states = self._embeddings(ids)
        for layer in range(self._shape.layers):
            states = self._layer(states, reach, f"encoder.layer.{layer}")
        vectors = op.normalize_l2(self._pooled(states, mask), np.array([1]), 1e-12, "max")
        return Model([op.result(vectors)], [ids, mask], "bert")

    def _embeddings(self, ids: Any) -> Any:
        op, words = self._op, self._constant("embeddings.word_embeddings.weight")
        places = self._weights["embeddings.position_embeddings.weight"]
        kind = self._weights["embeddings.token_type_embeddings.weight"][0]
        length = op.gather(op.shape_of(ids), np.array(1), np.array(0))
        counted = op.range(np.array(0), length, np.array(1), "i64")
        positions = op.gather(op.constant(places + kind), counted, np.array(0))
        return self._normalised(op.add(op.gather(words, ids, np.array(0)), positions), "embeddings.LayerNorm")

    def _layer(self, states: Any, reach: Any, name: str) -> Any:
        """Return one transformer layer's output [B, S, H]."""
        op, width = self._op, self._shape.width
        parts = [
            self._heads(self._linear(states, f"{name}.attention.self.{part}")) for part in ("query", "key", "value")
        ]
        seen = op.scaled_dot_product_attention(*parts, reach)
        seen = op.reshape(op.transpose(seen, [0, 2, 1, 3]), [0, 0, width], True)
        states = self._added(states, seen, f"{name}.attention.output")
        grown = op.gelu(self._linear(states, f"{name}.intermediate.dense"), "erf")
        return self._added(states, grown, f"{name}.output")

    def _heads(self, states: Any) -> Any:
        """Return [B, S, H] as [B, A, S, H / A]."""
        heads, width = self._shape.heads, self._shape.width
        return self._op.transpose(self._op.reshape(states, [0, 0, heads, width // heads], True), [0, 2, 1, 3])

    def _added(self, states: Any, change: Any, name: str) -> Any:
        total = self._op.add(self._linear(change, f"{name}.dense"), states)
        return self._normalised(total, f"{name}.LayerNorm")

    def _linear(self, states: Any, name: str) -> Any:
        op = self._op
        matrix = self._bytes(f"{name}.weight") if self._int8 else self._constant(f"{name}.weight")
        return op.add(op.matmul(states, matrix, False, True), self._constant(f"{name}.bias"))

    def _bytes(self, name: str) -> Any:
        """Return a matrix as bytes times a scale for each row, which OpenVINO multiplies as they are."""
        op, scales = self._op, byte_scales(self._weights[name])
        rounded = np.round(self._weights[name] / scales).astype(np.int8)
        return op.multiply(op.convert(op.constant(rounded), "f32"), op.constant(scales))

    def _normalised(self, states: Any, name: str) -> Any:
        op = self._op
        unit = op.mvn(states, np.array([-1]), True, self._shape.epsilon, "inside_sqrt")
        return op.add(op.multiply(unit, self._constant(f"{name}.weight")), self._constant(f"{name}.bias"))

    def _pooled(self, states: Any, mask: Any) -> Any:
        op = self._op
        if self._shape.pooling == "first":
            return op.gather(states, np.array(0), np.array(1))
        present = op.unsqueeze(mask, [-1])
        return op.divide(op.reduce_sum(op.multiply(states, present), [1]), op.reduce_sum(present, [1]))

    def _constant(self, name: str) -> Any:
        return self._op.constant(np.ascontiguousarray(self._weights[name]), shared_memory=True)
