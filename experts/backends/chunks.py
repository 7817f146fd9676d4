"""From the events of a streamed chat completion to chunks: read, checked, and joined where nobody needs the pieces.

Apart from the backend because it knows no transport: it is given the bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from experts import sse
from experts.depth import nested_too_deep
from experts.endpoints import MOST_TOKENS
from experts.errors import ExpertProtocolError, ExpertUnavailable
from experts.types import AnswerChunk, Usage

MOST_PARTS = 1024
"""Choices, or tool calls of one, that an answer may have: an index beyond is taken for nonsense."""
MOST_ANSWER_BYTES = 256 * 1024 * 1024
"""That an answer may have, all its events: more than a hundred thousand tokens with their alternatives take."""
DONE = b"[DONE]"
WORDS_ONLY = {"content"}
CONTENT = re.compile(rb'"content": ?"((?:[^"\\]|\\.)*)"')


class ChunkReader:
    """One answer's bytes in, as they come; its chunks out. `ended` once the server said that nothing follows.

    Args:
        expert: for errors.
        joined: chunks of text that came together may be given as one, which costs a fraction of it.
    """

    def __init__(self, expert: str, *, joined: bool = False) -> None:
        self.ended = False
        self._expert, self._joined = expert, joined
        self._frames = sse.Frames()
        self._pattern = Pattern()
        self._answered = self._finished = False
        self._bytes = 0

    def read(self, data: bytes) -> Sequence[AnswerChunk]:
        """Return the chunks that are whole with these bytes.

        Raises:
            ExpertProtocolError: an event is not a chat completion chunk, the answer ended without any, or it is larger
                than any may be.
            ExpertUnavailable: the server reports an error in mid-stream.
            sse.EventTooLarge: an event is larger than it may be.
        """
        self._bytes += len(data)
        if self._bytes > MOST_ANSWER_BYTES:
            raise ExpertProtocolError(
                self._expert, f"Expert '{self._expert}' sent more than {MOST_ANSWER_BYTES} bytes."
            )
        return self._chunks(self._frames.data(data))

    def close(self) -> Sequence[AnswerChunk]:
        """Return what is left when the bytes end.

        Raises:
            ExpertUnavailable: the answer is not whole.
        """
        rest = self._chunks(data for data in map(sse.event_data, self._frames.rest()) if data is not None)
        if not (self._finished or self.ended):
            raise ExpertUnavailable(self._expert, f"Expert '{self._expert}' broke off its answer before the end.")
        return rest

    def _chunks(self, told: Iterable[bytes]) -> Sequence[AnswerChunk]:
        chunks = list(joined(self._alike(told)) if self._joined else self._alike(told))
        for chunk in chunks:
            self._answered = self._answered or bool(chunk.raw["choices"])
            self._finished = self._finished or chunk.finish_reason is not None
        if self.ended and not self._answered:
            raise ExpertProtocolError(self._expert, f"Expert '{self._expert}' ended without any answer.")
        return chunks

    def _alike(self, told: Iterable[bytes]) -> Iterator[AnswerChunk]:
        """Yield the events as chunks, those in a row that differ in their words alone as one: most of an answer is
        such.
        """
        run: list[bytes] = []
        begin, end, least = self._pattern.bounds
        for data in told:
            if data.startswith(begin) and data.endswith(end) and len(data) >= least:
                run.append(data)
                continue
            yield from self._said(run)
            run = []
            if data == DONE:
                self.ended = True
                return
            yield self._single(data)
            begin, end, least = self._pattern.bounds
        yield from self._said(run)

    def _single(self, data: bytes) -> AnswerChunk:
        body = parsed(self._expert, data)
        if adds_words(body):
            self._pattern = Pattern.of(data, body)
        return _chunk(body)

    def _said(self, run: Sequence[bytes]) -> Iterator[AnswerChunk]:
        said = self._pattern.said(run) if len(run) > 1 else None
        if said is not None:
            yield said
        else:
            yield from [_chunk(parsed(self._expert, data)) for data in run]


@dataclass(frozen=True, slots=True)
class Pattern:
    """An event that adds text and no more: what stands before and after its words, and its body."""

    head: bytes = b""
    tail: bytes = b""
    body: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, data: bytes, body: Mapping[str, Any]) -> Pattern:
        """Return the pattern of an event; one that nothing fits where its words cannot be told from the rest."""
        found = CONTENT.search(data)
        if found is None or data.count(b'"content"') != 1:
            return cls()
        return cls(data[: found.start(1)], data[found.end(1) :], body)

    @property
    def bounds(self) -> tuple[bytes, bytes, float]:
        """How another event begins and ends, and how long it is at least, that differs in nothing but the words."""
        return self.head, self.tail, len(self.head) + len(self.tail) if self.head else math.inf

    def said(self, run: Sequence[bytes]) -> AnswerChunk | None:
        """Return what all of these say; None where one of them is not what it looked like."""
        begin, end = len(self.head), -len(self.tail)
        words = tuple([data[begin:end] for data in run])
        told = b"".join(words)
        plain = told.isascii() and b"\\" not in told  # else each has to be whole: half a character is no text
        try:
            text = "".join([orjson.loads(b'"%b"' % each) for each in ((told,) if plain else words)])
        except orjson.JSONDecodeError:
            return None
        return AnswerChunk(_saying(self.body, text), text, words=words)


def parsed(expert: str, data: bytes) -> dict[str, Any]:
    """Return the body of one event.

    Raises:
        ExpertProtocolError: it is not a chat completion chunk.
        ExpertUnavailable: the server reports an error in mid-stream.
    """
    try:
        raw = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise ExpertProtocolError(expert, f"Expert '{expert}' sent an event that is not JSON.") from None
    if isinstance(raw, dict) and raw.get("error"):
        raise ExpertUnavailable(expert, f"Expert '{expert}' reported: {_message(raw['error'])}")
    if not isinstance(raw, dict) or not _well_formed(raw) or nested_too_deep(data, raw):
        raise ExpertProtocolError(expert, f"Expert '{expert}' sent an event that is not a chat completion.")
    return raw


def joined(chunks: Iterable[AnswerChunk]) -> Iterator[AnswerChunk]:
    """Yield the chunks, of each run of mere text one: the last, with the words of all."""
    run: list[str] = []
    last: AnswerChunk | None = None
    for chunk in chunks:
        if adds_words(chunk.raw):
            run.append(chunk.text)
            last = chunk
            continue
        if last is not None:
            yield _all_of(last, run)
            run, last = [], None
        yield chunk
    if last is not None:
        yield _all_of(last, run)


def _all_of(last: AnswerChunk, run: Sequence[str]) -> AnswerChunk:
    text = "".join(run)
    return last if len(run) == 1 else AnswerChunk(_saying(last.raw, text), text)


def adds_words(body: Mapping[str, Any]) -> bool:
    """Say whether a chunk adds text to its only choice, the first, and says nothing else."""
    choices = body["choices"]
    return len(choices) == 1 and not body.get("usage") and _plain(choices[0]) and not choices[0].get("finish_reason")


def _saying(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    return {**body, "choices": [{**body["choices"][0], "delta": {"content": text}}]}


def _well_formed(raw: Mapping[str, Any]) -> bool:
    """Say whether everything that is read of a chunk has the type and the bounds it must have."""
    choices, usage = raw.get("choices"), raw.get("usage")
    if not usage and isinstance(choices, list) and len(choices) == 1 and _plain(choices[0]):
        return True
    if usage:
        if not isinstance(usage, dict):
            return False
        if not all(_count(usage.get(key)) for key in ("prompt_tokens", "completion_tokens")):
            return False
    if not isinstance(choices, list):
        return False
    for choice in choices:  # noqa: SIM110 - a generator costs as much as what it looks at
        if not _well_formed_choice(choice):
            return False
    return True


def _plain(choice: object) -> bool:
    """Say whether a choice does no more than add text, which most do."""
    if not isinstance(choice, dict) or choice.get("logprobs") is not None:
        return False
    delta, place = choice.get("delta"), choice.get("index", 0)
    return isinstance(delta, dict) and delta.keys() == WORDS_ONLY and type(delta["content"]) is str and place == 0


def _count(tokens: object) -> bool:
    return tokens is None or (isinstance(tokens, int) and 0 <= tokens <= MOST_TOKENS)


def _well_formed_choice(choice: object) -> bool:
    if not isinstance(choice, dict) or not _place(choice) or not isinstance(choice.get("logprobs") or {}, dict):
        return False
    delta = choice.get("delta") or {}
    if not isinstance(delta, dict) or not isinstance(delta.get("content"), str | None):
        return False
    calls = delta.get("tool_calls")
    return not calls or (isinstance(calls, list) and all(_well_formed_call(call) for call in calls))


def _well_formed_call(call: object) -> bool:
    if not isinstance(call, dict) or not _place(call):
        return False
    function = call.get("function") or {}
    return isinstance(function, dict) and isinstance(function.get("arguments"), str | None)


def _place(part: Mapping[str, Any]) -> bool:
    place = part.get("index", 0)
    return isinstance(place, int) and 0 <= place < MOST_PARTS


def _message(error: object) -> str:
    return str(error.get("message", error)) if isinstance(error, Mapping) else str(error)


def _chunk(raw: dict[str, Any]) -> AnswerChunk:
    first: dict[str, Any] = {}
    for choice in raw["choices"]:
        if choice.get("index", 0) == 0:
            first = choice
            break
    used = raw.get("usage")
    usage = Usage(used.get("prompt_tokens") or 0, used.get("completion_tokens") or 0) if used else None
    text = (first.get("delta") or {}).get("content") or ""
    return AnswerChunk(raw, text, first.get("finish_reason"), usage)
