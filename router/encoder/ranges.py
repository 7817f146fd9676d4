"""Between what bounds the numbers lie that an encoder multiplies: measured once, when it is loaded, on texts of ours.

Short ones, long ones and ones that say the same over and over, because what stands out differs between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from router.encoder.folder import BertShape
from router.encoder.graph import Graph
from router.taxonomy import default_taxonomy

Ranges: TypeAlias = Mapping[str, NDArray[np.float32]]
"""By the name of the layer that reads them: the lowest and the highest value of each channel, shape [2, channels]."""
SHARE = 8
"""One of so many examples is read by itself; all of them are, joined."""


class RangeGraph(Graph):
    """Also says the bounds of what each layer reads, in the order of `watched`; layers that read the same share one."""

    def __init__(self, shape: BertShape, weights: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__(shape, weights)
        self.watched: dict[str, Any] = {}

    def products(self, states: Any, names: Sequence[str]) -> list[Any]:
        op, places = self.op, np.array([0, 1])
        bounds = [op.reduce_min(states, places, keep_dims=True), op.reduce_max(states, places, keep_dims=True)]
        self.watched[names[0]] = op.squeeze(op.concat(bounds, 0), np.array([1]))
        return super().products(states, names)

    def more_results(self) -> Sequence[Any]:
        return tuple(self.watched.values())


def channel_ranges(
    core: Any,
    shape: BertShape,
    weights: Mapping[str, NDArray[np.float32]],
    texts: Sequence[Sequence[int]],
    settings: Mapping[str, object],
) -> Ranges:
    """Return the bounds over these texts, given as tokens.

    Args:
        core: OpenVINO's.
        settings: that the float32 graph is compiled with.
    """
    graph = RangeGraph(shape, weights)
    request = core.compile_model(graph.model(), "CPU", dict(settings)).create_infer_request()
    lowest, highest = [], []
    for tokens in texts:
        ids = np.array([tokens], dtype=np.int32)
        found = list(request.infer([ids, np.ones(ids.shape, dtype=np.float32)]).values())[1:]
        lowest.append([bounds[0] for bounds in found])
        highest.append([bounds[1] for bounds in found])
    bounds = [
        np.stack([np.min(low, axis=0), np.max(high, axis=0)])
        for low, high in zip(zip(*lowest, strict=True), zip(*highest, strict=True), strict=True)
    ]
    return dict(zip(graph.watched, bounds, strict=True))


def usual_texts() -> list[str]:
    """Return what the bounds are measured on."""
    taxonomy = default_taxonomy()
    examples = [text for domain in taxonomy.domains for text in taxonomy.examples(domain)]
    joined = (" ".join(examples), " ".join(reversed(examples)))
    return [*examples[::SHARE], *joined, "the same again and again " * 50, "yes", "?"]
