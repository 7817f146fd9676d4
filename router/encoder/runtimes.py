"""Choose what runs the encoder, and lay its adapter over the weights.

auto        `openvino` where the model is a plain BERT, else `torch`
openvino    bert.py: starts in a second, float32 or bfloat16
torch       sentence_transformer.py: every model that sentence-transformers knows
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experts.errors import ConfigError
from router.adapters import adapter_file, merged_weights, read_adapter
from router.config import EncoderConfig
from router.encoder.base import Embed
from router.encoder.bert import load_bert
from router.encoder.folder import BertShape, model_folder, plain_bert
from router.encoder.sentence_transformer import Weights, load_sentence_transformer


def load_encoder(config: EncoderConfig) -> Embed:
    """Return a function that embeds texts with the configured model and runtime.

    Raises:
        ConfigError: there is no such runtime, model or adapter, or they do not fit each other.
    """
    if config.runtime not in RUNTIMES:
        raise ConfigError(
            f"routing.encoder.runtime: there is no '{config.runtime}'; choose one of {', '.join(RUNTIMES)}."
        )
    return RUNTIMES[config.runtime](config)


def encoder_name(config: EncoderConfig) -> str:
    """Return what artifacts are fitted for: the model's name, and the adapter's identity when there is one.

    Raises:
        ConfigError: there is no such adapter.
    """
    if config.adapter is None:
        return config.model
    return f"{config.model}+{sha256(adapter_file(config.adapter).read_bytes()).hexdigest()[:8]}"


def _auto(config: EncoderConfig) -> Embed:
    return _with_openvino(config) if _shape(config) else _with_torch(config)


def _with_openvino(config: EncoderConfig) -> Embed:
    shape = _shape(config)
    if shape is None:
        raise ConfigError(
            f"routing.encoder.runtime: '{config.model}' is not a folder with a plain BERT, mean or [CLS] pooling and "
            "model.safetensors, which is what openvino runs here: use `auto` or `torch`."
        )
    return load_bert(shape, _adapted(config)(shape.weights()), threads=config.threads, batch=config.max_batch)


def _with_torch(config: EncoderConfig) -> Embed:
    return load_sentence_transformer(config, _adapted(config))


def _shape(config: EncoderConfig) -> BertShape | None:
    folder = model_folder(config.model)
    return None if folder is None else plain_bert(Path(folder))


def _adapted(config: EncoderConfig) -> Callable[[Weights], Mapping[str, NDArray[np.float32]]]:
    """Return what lays the configured adapter over weights: nothing where none is configured."""
    if config.adapter is None:
        return lambda weights: weights
    adapter, scale = read_adapter(config.adapter)
    return lambda weights: merged_weights(weights, adapter, scale)


RUNTIMES: dict[str, Callable[[EncoderConfig], Embed]] = {
    "auto": _auto,
    "openvino": _with_openvino,
    "torch": _with_torch,
}
