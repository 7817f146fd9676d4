"""Change one member of a JSON object and leave every other byte as it is.

Apart from every JSON library, because reading and writing again changes what was written: spaces, escapes, the digits
of numbers. It looks at strings and brackets only, and never calls itself, so that depth costs nothing. What it is given
must be valid JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import orjson

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_PARTS = re.compile(_STRING + rb"|[{}\[\]]", re.DOTALL)
_COLON = re.compile(rb"\s*+:\s*+")
_SCALAR = re.compile(rb"[^\s,}\]]++")
_COMMA_BEFORE = re.compile(rb",\s*+\Z")
_COMMA_AFTER = re.compile(rb"\s*+,\s*+")

OPENING = frozenset(b'"{[')


class Member(NamedTuple):
    """One member of an object: its name, where it begins, and where its value begins and ends."""

    name: str
    begin: int
    value: int
    end: int


def members(text: bytes, start: int = 0) -> Iterator[Member]:
    """Yield the members of the object that begins at `start`, or after spaces there; nothing where none does."""
    opening = _PARTS.search(text, start)
    if opening is None or opening.group() != b"{":
        return
    at = opening.end()
    while (key := _PARTS.search(text, at)) is not None and key.group()[:1] == b'"':
        colon = _COLON.match(text, key.end())
        if colon is None:
            return
        at = _value_end(text, colon.end())
        yield Member(_name(key.group()), key.start(), colon.end(), at)


def _name(key: bytes) -> str:
    return str(orjson.loads(key)) if b"\\" in key else key[1:-1].decode()


def _value_end(text: bytes, start: int) -> int:
    if text[start] not in OPENING:
        scalar = _SCALAR.match(text, start)
        return len(text) if scalar is None else scalar.end()
    depth = 0
    for part in _PARTS.finditer(text, start):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(part.group(), 0)
        if not depth:
            return part.end()
    return len(text)


def without(text: bytes, gone: Member) -> bytes:
    """Return the object without a member, and without the comma that held it to its neighbour."""
    before, after = text[: gone.begin], text[gone.end :]
    if comma := _COMMA_AFTER.match(after):
        return before + after[comma.end() :]
    return _COMMA_BEFORE.sub(b"", before) + after


def replaced(text: bytes, member: Member, value: bytes) -> bytes:
    """Return the object with another value in a member's place."""
    return text[: member.value] + value + text[member.end :]
