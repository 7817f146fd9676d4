"""Events in, chunks out: however the bytes are cut, and joined or not, the answer is the same one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.assembly import assemble
from experts.backends.chunks import ChunkReader
from experts.errors import ExpertProtocolError, ExpertUnavailable
from experts.types import AnswerChunk

STAMP = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
LOGPROBS = {"content": [{"token": "x", "logprob": -0.5}]}
CALL = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}


def event(delta: dict[str, Any], **more: Any) -> bytes:
    choice = {"index": more.pop("index", 0), "delta": delta, "finish_reason": more.pop("finish_reason", None), **more}
    return b"data: " + orjson.dumps({**STAMP, "choices": [choice]}) + b"\n\n"


ANSWER = b"".join(
    [
        event({"role": "assistant", "content": ""}),
        *(event({"content": word}) for word in ("one ", "two ", "three ")),
        b": a comment\n\n",
        event({"content": "four"}, logprobs=LOGPROBS),
        *(event({"content": word}) for word in (" five", " six")),
        event({"content": "another"}, index=1),
        event({"content": " seven"}),
        event(CALL),
        event({"content": "!"}, finish_reason="stop"),
        event({}, index=1, finish_reason="stop"),
        b"data: "
        + orjson.dumps({**STAMP, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}})
        + b"\n\n",
        b"data: [DONE]\n\n",
    ]
)


def read(stream: bytes, cuts: list[int], *, joined: bool) -> list[AnswerChunk]:
    reader = ChunkReader("e", joined=joined)
    chunks: list[AnswerChunk] = []
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for begin, end in pairwise(places):
        chunks += reader.read(stream[begin:end])
        if reader.ended:
            return chunks
    return [*chunks, *reader.close()]


@given(st.lists(st.integers(0, len(ANSWER)), max_size=12), st.booleans())
def test_an_answer_is_the_same_joined_or_not_and_however_it_is_cut(cuts: list[int], joined: bool) -> None:
    chunks = read(ANSWER, cuts, joined=joined)
    whole = read(ANSWER, [], joined=False)

    assert assemble([chunk.raw for chunk in whole]) == assemble([chunk.raw for chunk in chunks])
    assert "one two three four five six seven!" == "".join(chunk.text for chunk in chunks)
    assert [9] == [chunk.usage.completion_tokens for chunk in chunks if chunk.usage]


def test_text_that_came_together_is_one_chunk_where_nobody_watches() -> None:
    words = b"".join(event({"content": word}) for word in "abcdef")

    (one,) = ChunkReader("e", joined=True).read(words)
    assert "abcdef" == one.text


def test_text_that_came_together_keeps_the_words_of_each_event() -> None:
    words = b"".join(event({"content": word}) for word in ("a", "b\n", "é", "d"))

    first, rest = ChunkReader("e").read(words)
    assert ("a", 1, ()) == (first.text, first.events, first.words)
    assert ("b\néd", 3, (b"b\\n", "é".encode(), b"d")) == (rest.text, rest.events, rest.words)
    assert "b\néd" == rest.raw["choices"][0]["delta"]["content"]


def test_what_says_more_than_text_is_never_joined() -> None:
    told = read(ANSWER, [], joined=True)

    assert [LOGPROBS] == [each for chunk in told for c in chunk.raw["choices"] if (each := c.get("logprobs"))]
    assert 1 == sum("tool_calls" in c["delta"] for chunk in told for c in chunk.raw["choices"])


@given(st.lists(st.text(max_size=6), max_size=12), st.booleans())
def test_words_of_any_kind_are_the_same_joined_or_not(words: list[str], dots: bool) -> None:
    spaced = [word + "\\" * (len(word) % 3) + '"' * dots for word in words]
    stream = b"".join(event({"content": word}) for word in spaced) + event({}, finish_reason="stop")

    assert "".join(spaced) == "".join(chunk.text for chunk in read(stream, [], joined=True))


@pytest.mark.parametrize(
    "odd",
    [
        b'a","x":"b',
        b'a"',
        b"a\\",
        b"a\n",
        b"a\\u12",
        b"34\\ud83d",
        b"\xc3",
        b'a","content":"b',
        b'"}}],"choices":[{"index":0,"delta":{"content":"b',
    ],
)
def test_an_event_that_only_looks_like_the_one_before_is_read_for_itself(odd: bytes) -> None:
    usual = event({"content": "one"})
    strange, rest = usual.replace(b"one", odd), usual.replace(b"one", b"\xa934") + event({}, finish_reason="stop")
    stream = usual + usual + strange + rest
    alone = [len(usual), 2 * len(usual), len(stream) - len(rest)]
    outcomes = []
    for cuts, joined in ((alone, False), ([], False), ([], True)):
        try:
            outcomes.append(assemble([chunk.raw for chunk in read(stream, cuts, joined=joined)]))
        except ExpertProtocolError as error:
            outcomes.append({"error": str(error)})

    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"data: [DONE]\n\n", ExpertProtocolError),
        (event({"content": 5}), ExpertProtocolError),
        (b"data: {\n\ndata: }\n\n", ExpertProtocolError),
        (b'data: {"choices": [\n\ndata: ]}\n\n', ExpertProtocolError),
        (event({"content": "a"}), ExpertUnavailable),
        (event({"content": "a"}) + b'data: {"error": {"message": "no memory"}}\n\n', ExpertUnavailable),
    ],
)
@pytest.mark.parametrize("joined", [False, True])
def test_nonsense_is_an_error_joined_or_not(stream: bytes, error: type[Exception], joined: bool) -> None:
    with pytest.raises(error):
        read(stream, [], joined=joined)
