"""What an encoder is, whatever runs it: words of the room that need no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]
"""Shape [n, dimension]; every row has length 1."""
Embed: TypeAlias = Callable[[Sequence[str]], Vectors]


def lanes(embed: Embed) -> tuple[Embed, ...]:
    """Return what may embed side by side: the one-thread functions in an embedder's `lanes`, else only itself."""
    return tuple(getattr(embed, "lanes", ())) or (embed,)


class TextEncoder(Protocol):
    """Whatever turns texts into unit vectors; equal texts give equal vectors."""

    @property
    def name(self) -> str:
        """Which encoder this is: what was fitted on one does not fit another."""

    async def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, in order.

        Raises:
            ClassifierUnavailable: the encoder broke.
        """


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """What the encoder has done since it was made."""

    texts: int = 0
    cache_hits: int = 0
    batches: int = 0
    encoded: int = 0
