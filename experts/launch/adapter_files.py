"""What an adapter's folder says about it, and whether its base could take it. Reads two small files, loads nothing."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

from experts.errors import ConfigError
from experts.launch.vllm import LORA_RANKS, Adapter

WEIGHTS = "adapter_model.safetensors"
_LAYER = re.compile(r"\.layers\.(\d+)\.")
_TOWER = re.compile(r"visi|visual|audio")
_READS_HIDDEN = re.compile(r"\.(q_proj|k_proj|v_proj|qkv_proj|gate_proj|up_proj)\.lora_A\.")
"""Modules whose input is the hidden state, so that lora_A's second size is the model's hidden size."""


def read_adapter(expert: str, served_name: str, folder: Path) -> Adapter:
    """Return an adapter as its folder describes it.

    Raises:
        ConfigError: the folder or its adapter_config.json is not there, or says no rank vLLM can take.
    """
    described = folder / "adapter_config.json"
    if not described.is_file():
        missing = "has no adapter_config.json" if folder.is_dir() else "does not exist"
        raise ConfigError(f"the adapter of '{expert}' is {folder}, which {missing}: correct adapter.path")
    return Adapter(expert, served_name, folder, _rank(described, expert))


def check_base(adapter: Adapter, model: str) -> None:
    """Refuse an adapter that was trained for a model of another shape, where both are folders that say.

    Raises:
        ConfigError: hidden size or number of layers differ.
    """
    config, shapes = text_config(Path(model)), _shapes(adapter.folder / WEIGHTS)
    if not config or not shapes:
        return
    shapes = {name: shape for name, shape in shapes.items() if not _TOWER.search(name)}
    widths = {shape[1] for name, shape in shapes.items() if _READS_HIDDEN.search(name) and len(shape) == 2}
    layers = {int(found[1]) for name in shapes if (found := _LAYER.search(name))}
    hidden, count = config.get("hidden_size"), config.get("num_hidden_layers")
    wrong = ""
    if isinstance(hidden, int) and widths and hidden not in widths:
        wrong = f"its weights are for a hidden size of {max(widths)}, and that model's is {hidden}"
    elif isinstance(count, int) and layers and max(layers) >= count:
        wrong = f"it has weights for layer {max(layers)}, and that model has {count} layers"
    if wrong:
        raise ConfigError(f"the adapter of '{adapter.expert}' is not for the model {model}: {wrong}")


def tensor_shapes(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return dtype and shape of every tensor in a safetensors file, from its header alone; empty when it is none."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(min(length, 100_000_000)))
    except (OSError, struct.error, ValueError):
        return {}
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    return {name: (str(entry["dtype"]), tuple(entry["shape"])) for name, entry in entries.items()}


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, (_, shape) in tensor_shapes(file).items()}


def text_config(model: Path) -> dict[str, Any]:
    """Return the language model's part of a model folder's config.json; empty when it is not to be had."""
    try:
        config = json.loads((model / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    found = config.get("text_config", config) if isinstance(config, dict) else {}
    return found if isinstance(found, dict) else {}


def _rank(described: Path, expert: str) -> int:
    try:
        rank = json.loads(described.read_text())["r"]
    except (ValueError, KeyError, TypeError):
        rank = None
    if not isinstance(rank, int) or not 1 <= rank <= LORA_RANKS[-1]:
        raise ConfigError(
            f"the adapter of '{expert}' does not say its rank: {described} needs \"r\" between 1 and {LORA_RANKS[-1]}"
        )
    return rank
