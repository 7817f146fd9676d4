"""Batching, caching and cancellation of the encoder, with hashed words in place of a model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from experts.errors import ConfigError
from router.config import EncoderConfig
from router.encoder import Embed, Encoder, Vectors, model_folder
from router.errors import ClassifierUnavailable
from tests.fakes.encoder import DIMENSION, embed


class Model:
    """A model that notes its batches and threads, and waits where it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        self.go = threading.Event()
        self.go.set()

    def load(self, config: EncoderConfig) -> Embed:
        return self

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.batches.append(list(texts))
        self.threads.add(threading.current_thread().name)
        if not self.go.wait(timeout=5):
            raise TimeoutError("nobody let the model go on")
        if "broken" in texts:
            raise RuntimeError("out of memory")
        return embed(texts)


class Crew(Model):
    """A model with two lanes; each notes its batches, as the crew notes those of all threads together."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = (Model(), Model())

    def shares(self) -> list[list[str]]:
        return sorted(batch for lane in self.lanes for batch in lane.batches)


async def test_vectors_come_in_the_order_of_the_texts() -> None:
    async with Encoder(load=Model().load) as encoder:
        vectors = await encoder.encode(["alpha beta gamma", "delta", "alpha beta gamma"])

    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(embed(["alpha beta gamma", "delta", "alpha beta gamma"]))


async def test_no_text_gives_no_vector() -> None:
    async with Encoder(load=Model().load) as encoder:
        assert len(await encoder.encode([])) == 0


async def test_simultaneous_callers_share_a_batch() -> None:
    model = Model()
    async with Encoder(EncoderConfig(max_wait_ms=20), load=model.load) as encoder:
        await asyncio.gather(*(encoder.encode([f"text {n}"]) for n in range(8)))

        assert [len(batch) for batch in model.batches] == [8]
        assert (encoder.facts.batches, encoder.facts.encoded) == (1, 8)


async def test_texts_that_come_while_the_model_works_are_its_next_batch() -> None:
    model = Model()
    model.go.clear()
    async with Encoder(load=model.load) as encoder:
        first = asyncio.create_task(encoder.encode(["first"]))
        while not model.batches:
            await asyncio.sleep(0.001)
        later = [asyncio.create_task(encoder.encode([f"later {n}"])) for n in range(3)]
        await asyncio.sleep(0)
        model.go.set()
        await asyncio.gather(first, *later)

    assert model.batches == [["first"], ["later 0", "later 1", "later 2"]]


async def test_a_lone_text_gets_all_threads() -> None:
    crew = Crew()
    async with Encoder(load=crew.load) as encoder:
        for text in ("first", "second"):
            await encoder.encode([text])

    assert crew.batches == [["first"], ["second"]]
    assert crew.shares() == []


async def test_a_crowd_is_shared_among_the_lanes_side_by_side() -> None:
    crew = Crew()
    async with Encoder(load=crew.load) as encoder:
        await encoder.warm_up()
        for lane in crew.lanes:
            lane.go.clear()
        crowd = asyncio.create_task(encoder.encode([f"text {n}" for n in range(4)]))
        while not all(lane.batches for lane in crew.lanes):
            await asyncio.sleep(0.001)
        for lane in crew.lanes:
            lane.go.set()
        vectors = await crowd

    assert vectors == pytest.approx(embed([f"text {n}" for n in range(4)]))
    assert crew.shares() == [["text 0", "text 1"], ["text 2", "text 3"]]
    assert crew.batches == [["warm up"]]


async def test_nothing_runs_beside_a_lone_text_and_those_who_waited_share_the_lanes() -> None:
    crew = Crew()
    async with Encoder(load=crew.load) as encoder:
        await encoder.warm_up()
        crew.go.clear()
        lone = asyncio.create_task(encoder.encode(["lone"]))
        while len(crew.batches) < 2:
            await asyncio.sleep(0.001)
        later = [asyncio.create_task(encoder.encode([f"later {n}"])) for n in range(4)]
        await asyncio.sleep(0.01)
        assert crew.shares() == []
        crew.go.set()
        await asyncio.gather(lone, *later)

    assert crew.shares() == [["later 0", "later 1"], ["later 2", "later 3"]]


async def test_all_lanes_together_hold_no_more_than_a_batch() -> None:
    crew = Crew()
    async with Encoder(EncoderConfig(max_batch=4), load=crew.load) as encoder:
        await encoder.warm_up()
        await encoder.encode([f"text {n}" for n in range(10)])

    assert max(len(batch) for batch in crew.shares()) == 2


async def test_the_same_text_is_encoded_once_for_everybody() -> None:
    model = Model()
    async with Encoder(load=model.load) as encoder:
        await asyncio.gather(*(encoder.encode(["same"]) for _ in range(5)))

    assert model.batches == [["same"]]


async def test_batches_never_exceed_their_limit() -> None:
    model = Model()
    async with Encoder(EncoderConfig(max_batch=4), load=model.load) as encoder:
        await encoder.encode([f"text {n}" for n in range(10)])

    assert [len(batch) for batch in model.batches] == [4, 4, 2]


async def test_a_known_text_comes_from_the_cache() -> None:
    model = Model()
    async with Encoder(load=model.load) as encoder:
        await encoder.encode(["known"])
        await encoder.encode(["known", "new"])

        assert model.batches == [["known"], ["new"]]
        assert (encoder.facts.texts, encoder.facts.cache_hits) == (3, 1)


async def test_the_least_recent_text_leaves_a_full_cache() -> None:
    model = Model()
    async with Encoder(EncoderConfig(cache_size=2), load=model.load) as encoder:
        for text in ("first", "second", "first", "third", "first", "second"):
            await encoder.encode([text])

    assert model.batches == [["first"], ["second"], ["third"], ["second"]]


async def test_one_callers_cancellation_breaks_nobody_else() -> None:
    model = Model()
    model.go.clear()
    async with Encoder(EncoderConfig(max_wait_ms=0), load=model.load) as encoder:
        leaving = asyncio.create_task(encoder.encode(["shared", "own"]))
        staying = asyncio.create_task(encoder.encode(["shared"]))
        await asyncio.sleep(0.02)
        leaving.cancel()
        model.go.set()

        assert (await staying).shape == (1, DIMENSION)
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert len(await encoder.encode(["own"])) == 1

    assert sum("own" in batch for batch in model.batches) == 1


async def test_the_event_loop_goes_on_while_the_model_works() -> None:
    model = Model()
    model.go.clear()
    async with Encoder(EncoderConfig(max_wait_ms=0), load=model.load) as encoder:
        task = asyncio.create_task(encoder.encode(["slow"]))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not task.done()
        model.go.set()
        await task

    assert all(name.startswith("encoder") for name in model.threads)


async def test_a_broken_model_is_unavailable_and_the_next_batch_works() -> None:
    async with Encoder(load=Model().load) as encoder:
        with pytest.raises(ClassifierUnavailable, match="out of memory"):
            await encoder.encode(["broken"])

        assert len(await encoder.encode(["fine"])) == 1


async def test_closing_fails_those_who_wait() -> None:
    model = Model()
    model.go.clear()
    encoder = Encoder(load=model.load)
    waiting = asyncio.create_task(encoder.encode(["never"]))
    await asyncio.sleep(0.02)
    await encoder.aclose()
    model.go.set()

    with pytest.raises(ClassifierUnavailable, match="closed"):
        await waiting


async def test_training_gets_its_vectors_in_order_whatever_their_length() -> None:
    texts = ["a long text about nothing much", "short", "a middling text"]
    async with Encoder(EncoderConfig(max_batch=2), load=Model().load) as encoder:
        assert encoder.encode_sync(texts) == pytest.approx(embed(texts))


async def test_training_uses_the_lanes() -> None:
    crew, texts = Crew(), [f"text {n}" for n in range(9)]
    async with Encoder(EncoderConfig(max_batch=2), load=crew.load) as encoder:
        assert encoder.encode_sync(texts) == pytest.approx(embed(texts))

    assert sorted(text for batch in crew.shares() for text in batch) == texts


async def test_a_missing_model_is_said_at_warm_up(tmp_path: Path) -> None:
    def load(config: EncoderConfig) -> Embed:
        raise ConfigError(f"there is no folder {model_folder(config.model)}")

    async with Encoder(EncoderConfig(model=str(tmp_path / "absent")), load=load) as encoder:
        with pytest.raises(ConfigError, match="there is no folder"):
            await encoder.warm_up()


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert model_folder(str(tmp_path)) == str(tmp_path)


def test_a_hub_name_is_left_to_the_hub() -> None:
    assert model_folder("some/encoder") is None


def test_a_path_that_does_not_exist_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        model_folder(str(tmp_path / "absent"))
