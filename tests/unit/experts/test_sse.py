"""Events come out whole, however the bytes were cut."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts import sse


async def cut(data: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    position = 0
    for size in sizes:
        yield data[position : position + size]
        position += size
    yield data[position:]


@given(st.lists(st.integers(1, 7), max_size=40), st.sampled_from([b"\n\n", b"\r\n\r\n"]))
async def test_events_do_not_depend_on_where_the_bytes_were_cut(sizes: list[int], end: bytes) -> None:
    stream = end.join([b'data: {"a": 1}', b": a comment", b"event: x\ndata: two", b"data: [DONE]", b""])

    assert [b'{"a": 1}', b"two", b"[DONE]"] == [event async for event in sse.events(cut(stream, sizes))]


async def test_a_last_event_without_its_blank_line_still_counts() -> None:
    assert [b"x"] == [event async for event in sse.events(cut(b"data: x", []))]


async def test_data_over_several_lines_is_joined() -> None:
    assert [b"a\nb"] == [event async for event in sse.events(cut(b"data: a\ndata:b\n\n", []))]


async def test_an_endless_event_is_refused() -> None:
    with pytest.raises(sse.EventTooLarge, match="larger than 10 bytes"):
        [event async for event in sse.events(cut(b"data: " + b"x" * 100, [50]), max_bytes=10)]
