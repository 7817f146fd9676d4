"""Turn text into vectors without ever blocking the event loop.

A lone text is encoded at once, on all threads. Texts that arrive while the model is busy are its next batches: as
many side by side as the model has lanes, each on a worker thread of its own. Vectors are kept by the hash of their
text. A caller who goes away takes nothing from the others: the batch still runs and fills the cache. The model is
loaded on a worker thread when it is first needed, never when this module is imported.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from itertools import islice
from queue import SimpleQueue
from threading import Lock

import numpy as np

from router.config import EncoderConfig
from router.encoder.base import Embed, EncoderFacts, Vectors, lanes
from router.encoder.runtimes import encoder_name, load_encoder
from router.errors import ClassifierUnavailable


class Encoder:
    """A sentence encoder behind a micro-batcher and a cache.

    Whoever creates it closes it (`async with`, or `aclose`). It belongs to one event loop.

    Args:
        config: model, runtime, adapter, threads, batch size, patience, cache size.
        load: makes the function that embeds a batch; runs on a worker thread. Tests pass their own.

    Raises:
        ConfigError: there is no such adapter.
    """

    def __init__(
        self, config: EncoderConfig | None = None, *, load: Callable[[EncoderConfig], Embed] | None = None
    ) -> None:
        self.config = config or EncoderConfig()
        self.name = encoder_name(self.config)
        self._load = load or load_encoder
        self._embed: Embed | None = None
        self._loading = Lock()
        self._lanes = 1
        self._free: SimpleQueue[Embed] = SimpleQueue()
        self._workers = ThreadPoolExecutor(max_workers=self.config.threads, thread_name_prefix="encoder")
        self._cache: OrderedDict[bytes, Vectors] = OrderedDict()
        self._waiting: dict[bytes, str] = {}
        self._promised: dict[bytes, asyncio.Future[Vectors]] = {}
        self._collectors: set[asyncio.Task[None]] = set()
        self._busy, self._alone = 0, False
        self._texts = self._hits = self._batches = self._encoded = 0
        self.batch_sizes: Counter[int] = Counter()

    @property
    def facts(self) -> EncoderFacts:
        """What it has done so far."""
        return EncoderFacts(self._texts, self._hits, self._batches, self._encoded)

    async def warm_up(self) -> None:
        """Load the model and encode once, so that the first request is not the slow one.

        Raises:
            ConfigError: there is no such model.
        """
        await asyncio.wrap_future(self._workers.submit(self._encode_batch, ["warm up"], alone=True))

    async def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, shape [n, dimension].

        Raises:
            ClassifierUnavailable: the model failed or could not be loaded.
        """
        if not texts:
            return np.empty((0, 0), dtype=np.float32)
        keys = [blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        found = [self._recall(key) for key in keys]
        rows = {key: row for key, row in zip(keys, found, strict=True) if row is not None}
        self._texts += len(keys)
        self._hits += sum(row is not None for row in found)
        if len(rows) < len(keys):
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in rows}
            promises = [self._promise(key, text) for key, text in missing.items()]
            fresh = await asyncio.gather(*(asyncio.shield(promise) for promise in promises))
            rows.update(zip(missing, fresh, strict=True))
        return np.array([rows[key] for key in keys])

    def encode_sync(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, for training; neither batched with others nor cached."""
        size = self.config.max_batch
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        batches = [[texts[index] for index in order[at : at + size]] for at in range(0, len(order), size)]
        rows = [self._workers.submit(self._encode_batch, batch) for batch in batches]
        vectors = np.concatenate([row.result() for row in rows])
        return vectors[np.argsort(order)]

    async def aclose(self) -> None:
        """Stop the workers; texts still waiting fail with ClassifierUnavailable."""
        for collector in self._collectors:
            collector.cancel()
        self._collectors.clear()
        self._fail(list(self._promised), ClassifierUnavailable("The encoder was closed."))
        self._workers.shutdown(wait=False, cancel_futures=True)

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
            self._recruit()
        return self._promised[key]

    def _recruit(self) -> None:
        """Start collecting for every lane that has something to do; beside a lone text none is free."""
        wanted = 0 if self._alone else min(self._lanes, self._busy + len(self._waiting))
        for _ in range(wanted - len(self._collectors)):
            self._collectors.add(asyncio.create_task(self._collect(), name="encoder"))

    async def _collect(self) -> None:
        """Run one lane's batches until nobody waits; oldest texts first."""
        try:
            while self._waiting:
                if self.config.max_wait_ms and len(self._waiting) < self.config.max_batch:
                    await asyncio.sleep(self.config.max_wait_ms / 1000)
                if share := self._share():
                    await self._run(share)
                self._recruit()
        finally:
            self._collectors.discard(asyncio.current_task())

    def _share(self) -> list[bytes]:
        """Return whose texts a free lane takes: as many as each free one, all lanes at most `max_batch`."""
        even = -(-len(self._waiting) // max(1, self._lanes - self._busy))
        return list(islice(self._waiting, min(even, max(1, self.config.max_batch // self._lanes))))

    async def _run(self, keys: Sequence[bytes]) -> None:
        texts = [self._waiting.pop(key) for key in keys]
        self._alone = alone = len(texts) == 1 and not self._busy and not self._waiting
        self._busy += 1
        try:
            vectors = await asyncio.wrap_future(self._workers.submit(self._encode_batch, texts, alone=alone))
        except Exception as error:  # noqa: BLE001  whatever a model raises, routing falls back on it
            self._fail(keys, ClassifierUnavailable(f"The encoder failed: {error}"))
        else:
            self._keep(keys, vectors)
        finally:
            self._busy, self._alone = self._busy - 1, False

    def _keep(self, keys: Sequence[bytes], vectors: Vectors) -> None:
        self._batches, self._encoded = self._batches + 1, self._encoded + len(keys)
        self.batch_sizes[len(keys)] += 1
        for key, vector in zip(keys, vectors, strict=True):
            self._remember(key, vector)
            if not (promise := self._promised.pop(key)).done():
                promise.set_result(vector)

    def _fail(self, keys: Sequence[bytes], error: ClassifierUnavailable) -> None:
        for key in keys:
            if not (promise := self._promised.pop(key)).done():
                promise.set_exception(error)

    def _encode_batch(self, texts: Sequence[str], *, alone: bool = False) -> Vectors:
        """Embed on a worker thread when a lane is free, with all threads where nothing runs beside it."""
        with self._loading:
            if self._embed is None:
                self._embed = self._load(self.config)
                for each in (found := lanes(self._embed)):
                    self._free.put(each)
                self._lanes = len(found)
        lane = self._free.get()
        try:
            return (self._embed if alone else lane)(texts)
        finally:
            self._free.put(lane)


def _mark_seen(promise: asyncio.Future[Vectors]) -> None:
    """Read a promise's exception, because its callers may all have gone away."""
    if not promise.cancelled():
        promise.exception()
