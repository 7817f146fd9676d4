"""What is read of answers on the endpoints beside chat; anything odd says nothing and breaks nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.backends.relaying import is_missing
from experts.endpoints import READERS, Said
from experts.types import Endpoint, Usage

ODD: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "text", "usage", "delta", "type", "message", "response", "input_tokens", "content"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def test_tokens_a_cache_saved_were_read_all_the_same() -> None:
    reader = READERS["messages"]()
    started = {"input_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 1, "output_tokens": 1}

    assert Said(hollow=True) == reader.event({"type": "message_start", "message": {"usage": started}})
    assert Said(usage=Usage(13, 9)) == reader.event({"type": "message_delta", "usage": {"output_tokens": 9}})
    assert Said(last=True) == reader.event({"type": "message_stop"})


@pytest.mark.parametrize("kind", ["text", "thinking", "partial_json"])
def test_every_kind_of_delta_counts_as_text(kind: str) -> None:
    assert Said("so") == READERS["messages"]().event({"type": "content_block_delta", "delta": {kind: "so"}})


def test_what_only_announces_an_answer_does_not_begin_it() -> None:
    announced: dict[Endpoint, list[dict[str, Any]]] = {
        "messages": [{"type": "message_start"}, {"type": "ping"}, {"type": "content_block_start"}],
        "responses": [{"type": "response.created", "response": {}}, {"type": "response.output_item.added"}],
        "completions": [{"choices": [{"text": "", "finish_reason": None}]}],
    }

    assert all(READERS[endpoint]().event(event).hollow for endpoint, events in announced.items() for event in events)


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_a_response_ends_well_or_not_and_tells_its_tokens(kind: str) -> None:
    usage = {"input_tokens": 3, "output_tokens": 4}

    assert Said(usage=Usage(3, 4), last=True) == READERS["responses"]().event(
        {"type": kind, "response": {"usage": usage}}
    )


@given(st.sampled_from(sorted(READERS)), st.dictionaries(st.sampled_from(["type", "choices", "usage", "delta"]), ODD))
def test_odd_shapes_say_nothing_that_is_not_a_number_or_a_text(endpoint: Endpoint, body: dict[str, Any]) -> None:
    for said in (READERS[endpoint]().event(body), READERS[endpoint]().whole(body)):
        assert isinstance(said.text, str)
        assert said.usage is None or min(said.usage.prompt_tokens, said.usage.completion_tokens) >= 0


@pytest.mark.parametrize(
    ("status", "content", "missing"),
    [
        (404, b'{"detail":"Not Found"}', True),
        (404, b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}', True),
        (404, b"404 page not found", True),
        (404, b'{"error": "not found"}', True),
        (404, b'{"error":{"message":"The model `x` does not exist.","param":"model"}}', False),
        (404, b'{"error":{"message":"Response with id \'resp_1\' not found."}}', False),
        (405, b"", True),
        (501, b"{}", True),
        (501, b'{"error":{"message":"The model does not support Embeddings API","code":501}}', True),
        (501, b'{"error":{"message":"beam search is not implemented","code":501}}', False),
        (400, b'{"detail":"Not Found"}', False),
        (500, b"", False),
    ],
)
def test_a_missing_endpoint_is_told_from_a_missing_thing(status: int, content: bytes, missing: bool) -> None:
    assert missing == is_missing(status, content)
