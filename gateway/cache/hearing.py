"""What was heard of an answer so far, as long as it may still be kept. Pure."""

from __future__ import annotations

import orjson

from experts.types import AnswerChunk

REPEATED = frozenset({"id", "object", "created", "model", "system_fingerprint", "service_tier", "usage", "choices"})
"""What every piece says again and the whole answer once, or what is weighed by its parts."""
FRAME = frozenset({"index", "finish_reason", "delta"})


class Heard:
    """Collects an answer's pieces; lets go of all of them as soon as together they are more than may be kept.

    Args:
        most: bytes, of text and of all else that servers send: tool calls, log probabilities, fields of their own.
    """

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self.chunks: list[AnswerChunk] = []
        self.too_much = False

    def note(self, chunk: AnswerChunk) -> None:
        """Add a piece."""
        if self.too_much:
            return
        try:
            self._size += weight_of(chunk)
        except orjson.JSONEncodeError:  # nested deeper than can be written
            self._size = self._most + 1
        self.chunks.append(chunk)
        if self._size > self._most:
            self.too_much = True
            self.chunks.clear()


def weight_of(chunk: AnswerChunk) -> int:
    """Return about how many bytes a piece adds to an answer as it is kept."""
    parts = [value for name, value in chunk.raw.items() if name not in REPEATED]
    for choice in chunk.raw["choices"]:
        parts += [value for name, value in choice.items() if name not in FRAME and value is not None]
        parts += filter(None, (choice.get("delta") or {}).values())
    return len(orjson.dumps(parts))
