"""Events that came together leave as the events they were."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from experts.backends.chunks import ChunkReader
from gateway.streaming import frames

STAMP = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def event(word: str, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": word}, "logprobs": None, "finish_reason": None}
    return b"data: " + orjson.dumps({**STAMP, "choices": [choice], **more}) + b"\n\n"


@given(st.lists(st.text(max_size=6), min_size=1, max_size=12))
def test_events_that_came_together_leave_one_by_one_as_they_came(words: list[str]) -> None:
    stream = b"".join(map(event, words))
    chunks = ChunkReader("e").read(stream)

    assert stream == b"".join(frames(chunk.raw, chunk.words) for chunk in chunks)
    assert min(len(words), 2) >= len(chunks)


def test_what_looks_like_the_place_of_the_words_and_is_not_makes_one_event_of_all() -> None:
    forged = {"content": "\0"}
    chunks = ChunkReader("e").read(b"".join(event(word, forged=forged) for word in "abc"))

    told = b"".join(frames(chunk.raw, chunk.words) for chunk in chunks)
    read = [orjson.loads(each.removeprefix(b"data: ")) for each in told.split(b"\n\n") if each]
    assert "abc" == "".join(each["choices"][0]["delta"]["content"] for each in read)
    assert [forged] * len(read) == [each["forged"] for each in read]
