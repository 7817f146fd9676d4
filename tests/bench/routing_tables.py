"""The outcome tables of a folder, with a vector for every question; encoding is done once and kept.

DATA/pools.json              pool -> model ids
DATA/models.csv              model_id, price_in, price_out, params_active_b
DATA/<table>/questions.*     and outcomes.*: what `consilium router train --questions --outcomes` reads
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experts.types import ExpertName
from router.config import EncoderConfig
from router.conversation import window
from router.encoder import Encoder, Vectors
from router.evaluation.measuring import of_experts
from router.training.outcomes import Outcomes, read_outcomes
from router.training.prompts import read_rows

TABLES = {
    "zeroeval_small6": "zeroeval",
    "zeroeval_mixed8": "zeroeval",
    "llmrouter_small6": "llmrouter9",
}
"""Which folder a pool's questions are in; all others are in mmlu_pro."""
CACHE = Path(tempfile.gettempdir()) / "consilium-bench-vectors"


@dataclass(frozen=True, slots=True)
class Pool:
    """Questions that every expert of a pool was measured on, and their vectors (n, d)."""

    name: str
    outcomes: Outcomes
    vectors: NDArray[np.float32]

    @property
    def experts(self) -> tuple[ExpertName, ...]:
        return self.outcomes.experts

    def where(self, mask: NDArray[np.bool_]) -> Pool:
        """Return some of the questions."""
        return Pool(self.name, self.outcomes.where(mask), self.vectors[mask])

    def of_experts(self, places: Sequence[int]) -> Pool:
        """Return some of the experts, by column."""
        names = [self.experts[place] for place in places]
        return Pool(self.name, of_experts(self.outcomes, names), self.vectors)


class Remembered:
    """An encoder that knows the vectors of a table's texts, for fitting the same texts again and again."""

    def __init__(self, encoder: Encoder) -> None:
        self.config, self.name, self._encoder = encoder.config, encoder.name, encoder
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode_sync(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text; those of texts seen before come from memory."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        if fresh:
            self._known.update(zip(fresh, stored_vectors(fresh, self._encoder), strict=True))
        return np.stack([self._known[text] for text in texts])


def stored_vectors(texts: Sequence[str], encoder: Encoder) -> Vectors:
    """Return one unit vector a text, from a file where the same texts were encoded before."""
    digest = hashlib.sha256("\0".join([encoder.name, *texts]).encode("utf-8", "surrogatepass")).hexdigest()[:24]
    path = CACHE / f"{digest}.npy"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        np.save(path, encoder.encode_sync(texts))
    found: Vectors = np.load(path)
    return found


def new_encoder(threads: int = 2) -> Remembered:
    """Return the default encoder, with a memory."""
    return Remembered(Encoder(EncoderConfig(threads=threads)))


def read_pools(data: Path) -> Mapping[str, list[ExpertName]]:
    """Return the pools of a data folder."""
    found: dict[str, list[ExpertName]] = json.loads((data / "pools.json").read_text())
    return found


def read_pool(data: Path, name: str, experts: Sequence[ExpertName], encoder: Remembered) -> Pool:
    """Return a pool's questions of the splits train and dev, those that every expert of it was measured on."""
    folder = data / TABLES.get(name, "mmlu_pro")
    outcomes = read_outcomes(
        [folder / "questions.parquet"], [folder / "outcomes.parquet"], [data / "models.csv"], experts
    )
    vectors = encoder.encode_sync([window(text) for text in outcomes.texts])
    mask = np.isin(outcomes.splits, ("train", "dev")) & ~np.isnan(outcomes.scores).any(axis=1)
    return Pool(name, outcomes, vectors).where(mask)


def read_leaves(data: Path, pool: Pool) -> NDArray[np.str_]:
    """Return the finer label (n,) that MMLU-Pro's questions carry: the set they were taken from."""
    found = {str(row["question_id"]): str(row["src"]) for row in read_rows(data / "mmlu_pro" / "questions.parquet")}
    return np.array([found[each] for each in pool.outcomes.ids])
