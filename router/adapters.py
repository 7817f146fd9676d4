"""Low-rank changes of the encoder that are kept beside a head (LoRA, Hu et al. 2021, 2106.09685).

A head that was tuned together with its encoder ships the difference alone: for each changed weight W of shape
[out, in] two small factors, `<name>.lora_A` [rank, in] and `<name>.lora_B` [out, rank], so that W' = W + scale * B A.
Whoever loads the encoder merges them once; encoding then costs what it cost before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.errors import ConfigError

FILE = "adapter.safetensors"


@dataclass(frozen=True, slots=True)
class Adapter:
    """The factors by name, and the number they are multiplied by."""

    factors: Mapping[str, NDArray[Any]]
    scale: float

    def encoder_name(self, base: str) -> str:
        """Return the name of the adapted encoder: heads fitted on it fit no other."""
        factors = b"".join(name.encode() + self.factors[name].tobytes() for name in sorted(self.factors))
        content = factors + str(self.scale).encode()
        return f"{base}+{sha256(content).hexdigest()[:8]}"


def merged_weights(
    weights: Mapping[str, NDArray[Any]], adapter: Mapping[str, NDArray[Any]], scale: float
) -> dict[str, NDArray[Any]]:
    """Return all weights, those that the adapter names changed to W + scale * B A, each in its own type.

    Raises:
        ConfigError: the adapter names a weight that is not there, lacks a factor, or has one of another shape.
    """
    merged = dict(weights)
    for name in sorted({key.rpartition(".")[0] for key in adapter}):
        down, up = adapter.get(f"{name}.lora_A"), adapter.get(f"{name}.lora_B")
        weight = weights.get(name)
        if weight is None or down is None or up is None:
            raise ConfigError(f"The adapter does not fit this encoder: '{name}' is missing on one side.")
        if (up.shape[0], down.shape[1]) != weight.shape or up.shape[1] != down.shape[0]:
            raise ConfigError(f"The adapter does not fit this encoder: '{name}' has shape {weight.shape}.")
        change = scale * (up.astype(np.float32) @ down.astype(np.float32))
        merged[name] = (weight.astype(np.float32) + change).astype(weight.dtype)
    return merged


def save_adapter(adapter: Adapter, folder: Path) -> None:
    """Write the factors, and a manifest that says the scale until the head's own replaces it."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(factor) for name, factor in adapter.factors.items()}, folder / FILE)
    (folder / "manifest.json").write_text(json.dumps({"adapter": {"scale": adapter.scale}}), encoding="utf-8")


def load_adapter(folder: Path) -> Adapter | None:
    """Return the adapter of an artifact, or None where its encoder is unchanged.

    Raises:
        ConfigError: the file or the manifest's `adapter.scale` cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not (folder / FILE).is_file():
        return None
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return Adapter(load_file(folder / FILE), float(manifest["adapter"]["scale"]))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ConfigError(
            f"routing.artifact: {folder / FILE} cannot be used ({type(error).__name__}: {error})."
        ) from error
