"""What an evaluation remembers of the training questions: who was right, at what cost, and which questions they were.

It lies beside the policies in their folder, without any text: scores, costs, coded answers, categories and a hash of
each question. From it come the best single expert, the table by category, the worth of a vote and the alarm that
rings when a router is measured on the questions it was fitted on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from experts.errors import ConfigError
from experts.types import ExpertName
from router.evaluation.runs import Floats, Indices
from router.evaluation.votes import code_answers
from router.training.outcomes import Outcomes

ARRAYS_FILE, NAMES_FILE = "reference.safetensors", "reference.json"


@dataclass(frozen=True, slots=True)
class Reference:
    """Outcomes without their texts.

    Args:
        experts: m names.
        scores: (n, m), nan where not measured.
        costs: (n, m), USD a question, nan without a price.
        codes: (n, m) coded answers (`code_answers`), None where no answers were recorded.
        categories: (n,), '' where unknown.
        keys: (n,) hashes that are equal for duplicate questions.
        lengths: (n,) characters of the prompt.
    """

    experts: tuple[ExpertName, ...]
    scores: Floats
    costs: Floats
    codes: Indices | None
    categories: NDArray[np.str_]
    keys: NDArray[np.str_]
    lengths: Floats

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def of(cls, outcomes: Outcomes) -> Reference:
        """Keep what is needed of outcomes."""
        return cls(
            experts=outcomes.experts,
            scores=outcomes.scores,
            costs=outcomes.costs,
            codes=None if outcomes.answers is None else code_answers(outcomes.answers),
            categories=outcomes.categories,
            keys=outcomes.keys,
            lengths=outcomes.in_chars,
        )

    def pool(self, experts: Sequence[ExpertName]) -> Reference:
        """Return the columns of these experts, in this order.

        Raises:
            ConfigError: one of them is not here.
        """
        strangers = [name for name in experts if name not in self.experts]
        if strangers:
            raise ConfigError(f"Nothing was fitted for {', '.join(strangers)}; there are {', '.join(self.experts)}.")
        columns = [self.experts.index(name) for name in experts]
        codes = None if self.codes is None else self.codes[:, columns]
        return replace(
            self, experts=tuple(experts), scores=self.scores[:, columns], costs=self.costs[:, columns], codes=codes
        )

    def where(self, mask: NDArray[np.bool_]) -> Reference:
        """Return the questions that a boolean mask selects."""
        return replace(
            self,
            scores=self.scores[mask],
            costs=self.costs[mask],
            codes=None if self.codes is None else self.codes[mask],
            categories=self.categories[mask],
            keys=self.keys[mask],
            lengths=self.lengths[mask],
        )

    def complete(self) -> Reference:
        """Return the questions on which every expert was measured."""
        return self.where(np.asarray(~np.isnan(self.scores).any(axis=1)))

    def save(self, folder: Path) -> None:
        """Write two files into a folder, which must exist."""
        arrays = {"scores": self.scores, "costs": self.costs, "lengths": self.lengths}
        if self.codes is not None:
            arrays["codes"] = self.codes.astype(np.int16)
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / ARRAYS_FILE)
        names = {"experts": self.experts, "categories": self.categories.tolist(), "keys": self.keys.tolist()}
        (folder / NAMES_FILE).write_text(json.dumps(names) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Reference:
        """Read what `save` wrote.

        Raises:
            ConfigError: the folder holds no such files, or they cannot be read.
        """
        try:
            arrays = load_file(folder / ARRAYS_FILE)
            names = json.loads((folder / NAMES_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError, SafetensorError) as error:
            raise ConfigError(f"{folder} holds no policies that `router train --questions` wrote ({error}).") from error
        return cls(
            experts=tuple(names["experts"]),
            scores=arrays["scores"],
            costs=arrays["costs"],
            codes=arrays["codes"].astype(np.int64) if "codes" in arrays else None,
            categories=np.array(names["categories"], dtype=np.str_),
            keys=np.array(names["keys"], dtype=np.str_),
            lengths=arrays["lengths"],
        )
