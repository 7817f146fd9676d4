"""What servers answer on the endpoints beside chat, as far as it is read: tokens, text, whether it has begun and ended.

Pure: a body or event in, a `Said` out. READERS maps an endpoint to what reads one answer of it; a reader remembers what
its answer said so far, because some report the tokens read at the beginning and those written at the end. Whatever has
another shape than expected says nothing: it goes to the client as it is all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from experts.types import Endpoint, Usage

Body = Mapping[str, Any]
MOST_TOKENS = 2**40
"""That any answer can have used: a server that says more is wrong, and sums of more could not be written as JSON."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one event, or a whole answer, says.

    Args:
        text: what it adds to the answer, whatever for: words, thoughts, arguments of a tool.
        usage: tokens of the whole answer, where it tells them.
        hollow: the answer has not begun with it.
        last: the answer is complete with it.
    """

    text: str = ""
    usage: Usage | None = None
    hollow: bool = False
    last: bool = False


class Reader(Protocol):
    """Reads one answer."""

    def whole(self, body: Body) -> Said:
        """Read an answer that came in one piece."""
        ...

    def event(self, body: Body) -> Said:
        """Read the next event of an answer that streams."""
        ...


class Completions:
    """OpenAI's text completions; a stream ends with `[DONE]`."""

    def whole(self, body: Body) -> Said:
        """See `Reader.whole`."""
        return Said("".join(_texts(body)), _usage(body.get("usage"), "prompt_tokens", "completion_tokens"), last=True)

    def event(self, body: Body) -> Said:
        """See `Reader.event`."""
        text, usage = "".join(_texts(body)), _usage(body.get("usage"), "prompt_tokens", "completion_tokens")
        ends = any(choice.get("finish_reason") for choice in _objects(body.get("choices")))
        return Said(text, usage, hollow=not (text or usage or ends))


class Embeddings(Completions):
    """OpenAI's embeddings: tokens are read, none are written."""


class Responses:
    """OpenAI's responses. Events have types; those that only announce something are hollow."""

    ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})

    def whole(self, body: Body) -> Said:
        """See `Reader.whole`."""
        return Said(usage=_usage(body.get("usage"), "input_tokens", "output_tokens"), last=True)

    def event(self, body: Body) -> Said:
        """See `Reader.event`."""
        kind, delta = str(body.get("type")), body.get("delta")
        if kind in self.ENDS:
            return Said(usage=self.whole(_object(body.get("response"))).usage, last=True)
        text = delta if isinstance(delta, str) else ""
        return Said(text, hollow=not text)


class Messages:
    """Anthropic's messages. Tokens read stand in the first event, tokens written in one of the last."""

    DELTAS = ("text", "thinking", "partial_json")

    def __init__(self) -> None:
        self._read = 0

    def whole(self, body: Body) -> Said:
        """See `Reader.whole`."""
        text = "".join(_strings(_objects(body.get("content")), *self.DELTAS))
        return Said(text, self._used(_object(body.get("usage"))), last=True)

    def event(self, body: Body) -> Said:
        """See `Reader.event`."""
        kind = body.get("type")
        if kind == "message_start":
            self._read = _read(_object(_object(body.get("message")).get("usage")))
        elif kind == "message_delta":
            return Said(usage=self._used(_object(body.get("usage"))))
        elif kind == "content_block_delta":
            return Said("".join(_strings([_object(body.get("delta"))], *self.DELTAS)))
        return Said(hollow=kind != "message_stop", last=kind == "message_stop")

    def _used(self, usage: Body) -> Usage | None:
        """Return what was used; whoever says it at the end says again what was read, or leaves it out."""
        return Usage(_read(usage) or self._read, _count(usage, "output_tokens")) if usage else None


READERS: Mapping[Endpoint, type[Reader]] = {
    "completions": Completions,
    "embeddings": Embeddings,
    "responses": Responses,
    "messages": Messages,
}


def _texts(body: Body) -> Iterator[str]:
    return _strings(_objects(body.get("choices")), "text")


def _strings(parts: list[Body], *keys: str) -> Iterator[str]:
    return (part[key] for part in parts for key in keys if isinstance(part.get(key), str))


def _objects(value: object) -> list[Body]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _object(value: object) -> Body:
    return value if isinstance(value, Mapping) else {}


def _usage(found: object, read: str, written: str) -> Usage | None:
    usage = _object(found)
    return Usage(_count(usage, read), _count(usage, written)) if usage else None


def _read(usage: Body) -> int:
    """Return the tokens that were read, those that a cache saved included."""
    return sum(_count(usage, key) for key in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"))


def _count(usage: Body, key: str) -> int:
    value = usage.get(key)
    return value if isinstance(value, int) and 0 < value <= MOST_TOKENS else 0
