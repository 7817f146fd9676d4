"""Low-rank changes of an encoder's weights (LoRA, Hu et al. 2021, 2106.09685): read, and merged at load.

An adapter is a safetensors file with a pair of matrices for each weight it changes, named after it:
`<weight>.lora_A` [rank, in] and `<weight>.lora_B` [out, rank]. Merged, it costs nothing when texts are encoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experts.errors import ConfigError

ADAPTER_FILE = "adapter.safetensors"
DOWN, UP = ".lora_A", ".lora_B"


def adapter_file(place: str | Path) -> Path:
    """Return the adapter's file, given that or its folder.

    Raises:
        ConfigError: there is none.
    """
    path = Path(place).expanduser()
    file = path / ADAPTER_FILE if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"routing.encoder.adapter: there is no adapter {file}.")
    return file


def read_adapter(place: str | Path) -> tuple[dict[str, NDArray[np.float32]], float]:
    """Return the adapter's matrices by name, and its scale (metadata `scale`; 1 where that says nothing).

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    file = adapter_file(place)
    try:
        with safe_open(file, framework="numpy") as opened:
            scale = float((opened.metadata() or {}).get("scale", 1.0))
            return {name: np.asarray(opened.get_tensor(name), dtype=np.float32) for name in opened.keys()}, scale  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise ConfigError(f"routing.encoder.adapter: {file} cannot be read ({error}).") from error


def merged_weights(
    weights: Mapping[str, NDArray[np.float32]], adapter: Mapping[str, NDArray[np.float32]], scale: float
) -> dict[str, NDArray[np.float32]]:
    """Return the weights with W + scale * B @ A in place of every W that the adapter changes.

    Raises:
        ConfigError: it changes a weight that is not there, or of another shape.
    """
    merged = dict(weights)
    for name in sorted({key.removesuffix(DOWN).removesuffix(UP) for key in adapter}):
        try:
            change = scale * (adapter[name + UP] @ adapter[name + DOWN])
            if change.shape != weights[name].shape:
                raise ValueError(f"{change.shape} is not {weights[name].shape}")
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"routing.encoder.adapter: it changes {name} in a way that does not fit the encoder ({error})."
            ) from error
        merged[name] = (weights[name] + change).astype(np.float32)
    return merged
