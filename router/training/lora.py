"""Linear layers with a low-rank change beside them (LoRA, Hu et al. 2021, 2106.09685), put into a BERT and out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

TUNED = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
         "intermediate.dense", "output.dense")  # fmt: skip


class LoraLinear(nn.Module):  # type: ignore[misc, unused-ignore]
    """x W + scale * (x A) B with W frozen; B starts at zero, so nothing changes at first.

    Args:
        name: of the weight within the encoder.
    """

    def __init__(self, base: nn.Linear, name: str, rank: int, scale: float) -> None:
        super().__init__()
        self.base = base
        self.name = name
        self.scale = scale
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / rank)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the layer's output with the change."""
        changed: torch.Tensor = self.base(inputs) + self.scale * (inputs @ self.down.T) @ self.up.T
        return changed

    def factors(self) -> dict[str, NDArray[np.float16]]:
        """Return the two factors under the name of their weight, as half floats."""
        return {
            f"{self.name}.lora_A": self.down.detach().cpu().numpy().astype(np.float16),
            f"{self.name}.lora_B": self.up.detach().cpu().numpy().astype(np.float16),
        }


@contextmanager
def upper_layers(bert: Any, layers: int, rank: int, scale: float) -> Iterator[list[LoraLinear]]:
    """Freeze a BERT, put adapters into its upper layers, and take them out again at the end."""
    bert.requires_grad_(False).eval()
    total = len(bert.encoder.layer)
    put: list[tuple[Any, str, LoraLinear]] = []
    for number in range(total - layers, total):
        for path in TUNED:
            place, _, last = path.rpartition(".")
            parent = bert.encoder.layer[number].get_submodule(place)
            name = f"encoder.layer.{number}.{path}.weight"
            adapter = LoraLinear(getattr(parent, last), name, rank, scale).to(bert.device)
            setattr(parent, last, adapter)
            put.append((parent, last, adapter))
    try:
        yield [adapter for _, _, adapter in put]
    finally:
        for parent, last, adapter in put:
            setattr(parent, last, adapter.base)
