"""What fitted policies read of a text besides its vector: its words, and its shape. Nothing here is learned.

Words say what sentence encoders blur (a unit, a name, an option's format); the shape says what kind of request it is
(multiple choice, code, formulas, length). Both are counted, hashed and scaled in well under a millisecond.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

WORD_BUCKETS = 512
LETTER_BUCKETS = 512
LONGEST = 4000
"""Characters of a text that are read; vectors cover fewer."""
LETTERS = 4

_WORD = re.compile(r"\w+|[^\w\s]")
_SHAPES: tuple[re.Pattern[str], ...] = (
    re.compile(r"^[A-Z][.)] ", re.MULTILINE),
    re.compile(r"\d"),
    re.compile(r"[{}\[\]()=<>;_]"),
    re.compile(r"[\\$^]"),
    re.compile(r"[A-Z]"),
    re.compile(r"\n"),
    re.compile(r","),
    re.compile(r"[.?!]"),
    re.compile(r"\b(?:def|return|import|class|function|print)\b"),
    re.compile(r"_{2,}"),
    re.compile(r"\b(?:not|except|false|incorrect)\b", re.IGNORECASE),
    re.compile(r"\b(?:how many|how much|calculate|compute|find|solve)\b", re.IGNORECASE),
)
SHAPES = 2 + 2 * len(_SHAPES)


@dataclass(frozen=True, slots=True)
class Features:
    """n texts as fitted policies read them.

    Args:
        vectors: shape [n, d], the encoder's, of length 1.
        words: shape [n, WORD_BUCKETS + LETTER_BUCKETS], each half of length 1.
        shapes: shape [n, SHAPES], logarithms of lengths, counts and densities.
    """

    vectors: NDArray[np.float32]
    words: NDArray[np.float32]
    shapes: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.vectors)

    def where(self, places: NDArray[np.bool_] | NDArray[np.intp]) -> Features:
        """Return the features of some of the texts."""
        return Features(self.vectors[places], self.words[places], self.shapes[places])


def read_features(texts: Sequence[str], vectors: NDArray[np.float32]) -> Features:
    """Return the features of texts whose vectors are known, shape [n, d]."""
    return Features(
        np.asarray(vectors, dtype=np.float32),
        np.stack([words(text) for text in texts]),
        np.stack([shape(text) for text in texts]),
    )


def words(text: str) -> NDArray[np.float32]:
    """Return hashed counts of words and pairs of words, and of runs of four letters (Weinberger et al. 2009).

    Counts are dampened by a logarithm; a bucket's sign is hashed too, so that collisions cancel on average.
    """
    text = text[:LONGEST].lower()
    found = _WORD.findall(text)
    pairs = [f"{first} {second}" for first, second in pairwise(found)]
    joined = " ".join(found)
    runs = [joined[at : at + LETTERS] for at in range(max(1, len(joined) - LETTERS + 1))]
    return np.concatenate([_hashed(found + pairs, WORD_BUCKETS), _hashed(runs, LETTER_BUCKETS)])


def shape(text: str) -> NDArray[np.float32]:
    """Return the length in characters and words, and for each kind of mark its count and its density."""
    text = text[:LONGEST]
    size = len(text) + 1
    counts = np.array([len(pattern.findall(text)) for pattern in _SHAPES], dtype=np.float32)
    lengths = np.log([size, len(text.split()) + 1])
    return np.concatenate([lengths, np.log1p(counts), 10 * counts / size]).astype(np.float32)


def _hashed(tokens: Sequence[str], buckets: int) -> NDArray[np.float32]:
    codes = np.array([crc32(token.encode("utf-8", "surrogatepass")) for token in tokens] or [0], dtype=np.int64)
    kinds, counts = np.unique(codes, return_counts=True)
    signs = np.where(kinds & 1, 1.0, -1.0)
    row = np.bincount((kinds >> 1) % buckets, weights=signs * np.log1p(counts), minlength=buckets)
    return np.asarray(row / max(float(np.linalg.norm(row)), 1e-9), dtype=np.float32)
