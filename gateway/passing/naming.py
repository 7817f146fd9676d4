"""Put the expert's name where a server's answer names its own model, and touch nothing else.

A client sees one name for one expert, whatever its servers call the model. In a whole answer, and in an event of text
completions, the name is a member of the object; events of messages and responses hold it one level deeper, if at all.
"""

from __future__ import annotations

import orjson

from experts.types import ExpertName, RelayChunk
from gateway.passing.splicing import members, replaced

NAME = b'"model"'
DATA = b"data:"
HOLDERS = frozenset({"message", "response"})
JSON, EVENTS = "application/json", "text/event-stream"


def named(chunk: RelayChunk, expert: ExpertName) -> bytes:
    """Return a piece of an answer under the expert's name."""
    if NAME not in chunk.data:
        return chunk.data
    name = orjson.dumps(expert)
    if chunk.content_type.startswith(EVENTS):
        return b"".join(_named_line(line, name) for line in chunk.data.splitlines(keepends=True))
    return _named(chunk.data, 0, name, deep=False) if chunk.content_type.startswith(JSON) else chunk.data


def _named_line(line: bytes, name: bytes) -> bytes:
    if not line.startswith(DATA) or NAME not in line:
        return line
    return _named(line, len(DATA), name, deep=True)


def _named(text: bytes, start: int, name: bytes, *, deep: bool) -> bytes:
    holder = None
    for member in members(text, start):
        if member.name == "model":
            return replaced(text, member, name)
        holder = member if deep and member.name in HOLDERS else holder
    return text if holder is None else _named(text, holder.value, name, deep=False)
