"""Run any sentence-transformers model with torch: slower to start and to answer, but it knows every kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from experts.errors import ConfigError
from router.config import EncoderConfig
from router.encoder.base import Embed, Vectors
from router.encoder.folder import model_folder

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]


def load_sentence_transformer(
    config: EncoderConfig, change: Callable[[Weights], Weights] = lambda weights: weights
) -> Embed:
    """Return a function that embeds texts with the configured model, on this machine's CPU.

    The default model comes from the package `consilium[encoder]` where that is installed. `change` may alter
    the transformer's weights, by the names in its own file.

    Raises:
        ConfigError: there is no such model.
    """
    place = model_folder(config.model)
    with _offline(place is not None):
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        torch.set_num_threads(config.threads)
        logging.disable_progress_bar()
        try:
            model = SentenceTransformer(place or config.model, device="cpu")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"routing.encoder.model: the encoder '{config.model}' cannot be loaded: name a folder that holds "
                f"a sentence-transformers model, or install consilium[encoder] for the default one ({error})."
            ) from error
    if config.adapter is not None:
        _change_weights(model, change)

    def embed(texts: Sequence[str]) -> Vectors:
        vectors = model.encode(
            list(texts), batch_size=config.max_batch, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)

    return embed


def _change_weights(model: Any, change: Callable[[Weights], Weights]) -> None:
    import torch

    inner = model[0].auto_model
    before = {name: value.numpy() for name, value in inner.state_dict().items()}
    inner.load_state_dict({name: torch.from_numpy(value) for name, value in change(before).items()})


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Keep the model hub's client from the network while a local folder is loaded."""
    before = os.environ.get("HF_HUB_OFFLINE")
    if wanted:
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if wanted and before is None:
            del os.environ["HF_HUB_OFFLINE"]
        elif before is not None:
            os.environ["HF_HUB_OFFLINE"] = before
