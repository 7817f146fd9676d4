"""An encoder without a model: longer words are hashed into a vector, so texts that share them are neighbours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from zlib import crc32

import numpy as np

from router.encoder import Vectors

DIMENSION = 512


def embed(texts: Sequence[str]) -> Vectors:
    """Return unit vectors, shape [n, 512]; deterministic across runs and machines."""
    vectors = np.full((len(texts), DIMENSION), 1e-6, dtype=np.float32)
    for row, text in enumerate(texts):
        for word in re.findall(r"\w{4,}", text.lower()):
            vectors[row, crc32(word.encode("utf-8", "surrogatepass")) % DIMENSION] += 1.0
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


class FakeEncoder:
    """A `TextEncoder` that hashes words. `asked` is how often; what was asked is not kept: a soak weighs it."""

    name = "fake"

    def __init__(self) -> None:
        self.asked = 0

    async def encode(self, texts: Sequence[str]) -> Vectors:
        self.asked += 1
        return embed(texts)
