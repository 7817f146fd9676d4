"""Run a plain BERT sentence encoder with OpenVINO, its graph written out from the weights: no torch, no export.

Precisions: `int8` multiplies bytes with bytes (`int8.py`; cosine to float32: mean 0.999), all else in float32;
`bfloat16` (0.99999) and `float32` keep to their type. `auto` is int8 on x86 processors that multiply bfloat16 too and
so have fast byte products; bfloat16 on others that do; else float32.
Texts are padded to a multiple of `GRAIN` tokens and share an inference with others of the same padded length,
so little padding is computed, and few shapes have to be compiled.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from router.encoder.base import Vectors
from router.encoder.folder import BertShape
from router.encoder.graph import Graph
from router.encoder.int8 import BytesGraph
from router.encoder.ranges import channel_ranges, usual_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

GRAIN = 8
PRECISIONS = ("int8", "bfloat16", "float32")
X86 = ("x86_64", "AMD64")
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
    wide, *rest = _requests(shape, weights, tokenizer, threads, precision)
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


def _requests(
    shape: BertShape, weights: Mapping[str, NDArray[np.float32]], tokenizer: Tokenizer, threads: int, precision: str
) -> list[Any]:
    """Return inference requests of the graph on the CPU: one of all threads; then, of several, one for each."""
    with without_telemetry():
        import openvino
    core = openvino.Core()
    if precision == "auto":
        precision = _fastest(core)
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
    }
    graph = Graph(shape, weights)
    if precision == "int8":
        texts = [encoding.ids for encoding in tokenizer.encode_batch_fast(usual_texts())]
        graph = BytesGraph(shape, weights, channel_ranges(core, shape, weights, texts, settings))
    model = graph.model()
    together = core.compile_model(model, "CPU", {**settings, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"})
    requests = [together.create_infer_request()]
    if threads > 1:
        apart = core.compile_model(model, "CPU", {**settings, "NUM_STREAMS": threads})
        requests += [apart.create_infer_request() for _ in range(threads)]
    return requests


def _fastest(core: Any) -> str:
    """Return the precision that `auto` means on this processor."""
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return "float32"
    return "int8" if platform.machine() in X86 else "bfloat16"


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Keep OpenVINO from reporting its import to its makers: as if the package that does so were not installed."""
    if TELEMETRY in sys.modules:
        yield
        return
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[TELEMETRY]
