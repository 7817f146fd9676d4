"""Choose what runs the encoder, and lay its adapter over the weights.

auto        `openvino` where the model is a plain BERT, else `torch`
openvino    bert.py: starts in a second, int8, bfloat16 or float32
torch       sentence_transformer.py: every model that sentence-transformers knows
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from experts.errors import ConfigError
from router.adapters import Adapter, load_adapter, merged_weights
from router.config import EncoderConfig
from router.encoder.base import Embed
from router.encoder.bert import PRECISIONS, load_bert
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
    adapter = _adapter(config)
    return config.model if adapter is None else adapter.encoder_name(config.model)


def _auto(config: EncoderConfig) -> Embed:
    return _with_openvino(config) if _shape(config) else _with_torch(config)


def _with_openvino(config: EncoderConfig) -> Embed:
    shape = _shape(config)
    if shape is None:
        raise ConfigError(
            f"routing.encoder.runtime: '{config.model}' is not a folder with a plain BERT, mean or [CLS] pooling and "
            "model.safetensors, which is what openvino runs here: use `auto` or `torch`."
        )
    if config.precision not in ("auto", *PRECISIONS):
        raise ConfigError(
            f"routing.encoder.precision: there is no '{config.precision}'; choose one of auto, {', '.join(PRECISIONS)}."
        )
    weights = _adapted(config)(shape.weights())
    return load_bert(shape, weights, threads=config.threads, batch=config.max_batch, precision=config.precision)


def _with_torch(config: EncoderConfig) -> Embed:
    return load_sentence_transformer(config, _adapted(config))


def _shape(config: EncoderConfig) -> BertShape | None:
    folder = model_folder(config.model)
    return None if folder is None else plain_bert(Path(folder))


def _adapted(config: EncoderConfig) -> Callable[[Weights], Weights]:
    """Return what lays the configured adapter over weights: nothing where none is configured."""
    adapter = _adapter(config)
    if adapter is None:
        return lambda weights: weights
    return lambda weights: merged_weights(weights, adapter.factors, adapter.scale)


def _adapter(config: EncoderConfig) -> Adapter | None:
    if config.adapter is None:
        return None
    adapter = load_adapter(Path(config.adapter).expanduser())
    if adapter is None:
        raise ConfigError(f"routing.encoder.adapter: there is no adapter in {config.adapter}.")
    return adapter


RUNTIMES: dict[str, Callable[[EncoderConfig], Embed]] = {
    "auto": _auto,
    "openvino": _with_openvino,
    "torch": _with_torch,
}
