"""What spans say of a conversation: whatever stands where words are expected harms no request."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.tracing.attributes import of_question


@pytest.mark.parametrize("content", [5, True, None, {"text": "x"}, 1.5])
def test_content_that_is_no_text_and_no_list_has_no_parts(content: Any) -> None:
    told = orjson.loads(str(of_question([{"role": "tool", "content": content}])["gen_ai.input.messages"]))

    assert [{"role": "tool", "parts": []}] == told
