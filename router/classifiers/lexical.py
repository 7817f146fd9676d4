"""The words and signs of a text as hashed numbers: what a sentence embedding blurs, such as code, units and formulas.

Single words and neighbouring pairs are counted once each, lower-cased, every number as one sign; a text of n features
has weight 1/sqrt(n + 1) on each of them. No vocabulary is kept: a word's place is its checksum (feature hashing,
Weinberger et al. 2009, 0902.2206).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BUCKETS = 8192
LONGEST = 1200
"""Characters of a text that are read."""
_SIGN = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")


def places(text: str, buckets: int = BUCKETS) -> NDArray[np.intp]:
    """Return the hashed places of a text's words and pairs of words, each once, in order of size."""
    words = ["0" if sign.isdigit() else sign for sign in _SIGN.findall(text[:LONGEST].lower())]
    pairs = (f"{before} {after}" for before, after in pairwise(["^", *words]))
    found = {crc32(word.encode("utf-8", "surrogatepass")) % buckets for word in (*words, *pairs)}
    return np.array(sorted(found), dtype=np.intp)


def weight(count: int) -> float:
    """Return what each of a text's `count` features weighs."""
    return 1.0 / float(np.sqrt(count + 1.0))


def word_scores(texts: Sequence[str], coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each text's sum of weighted coefficients, shape [n, classes].

    Args:
        coefficients: shape [buckets, classes].
    """
    found = [places(text, len(coefficients)) for text in texts]
    return np.stack([coefficients[place].sum(axis=0) * weight(len(place)) for place in found])


def word_matrix(texts: Sequence[str], buckets: int = BUCKETS) -> csr_matrix:
    """Return the same features as a sparse matrix, shape [n, buckets], for fitting."""
    from scipy.sparse import csr_matrix

    found = [places(text, buckets) for text in texts]
    lengths = [len(place) for place in found]
    values = np.repeat([weight(length) for length in lengths], lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    columns = np.concatenate(found) if found else np.empty(0, dtype=np.intp)
    return csr_matrix((values, columns, starts), shape=(len(texts), buckets))
