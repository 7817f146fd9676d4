"""Short lines become whole ones; what is none is named by its number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experts.errors import ConfigError
from gateway.cli.batch_input import full_line, write_full_lines

SAID = [{"role": "user", "content": "hi"}]


def whole(custom_id: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


@pytest.mark.parametrize(
    ("line", "full"),
    [
        ({"prompt": "hi"}, whole("line-3", {"model": "auto", "messages": SAID})),
        ({"messages": SAID, "custom_id": "q"}, whole("q", {"model": "auto", "messages": SAID})),
        ({"prompt": "hi", "model": "m", "top_p": 1}, whole("line-3", {"model": "m", "messages": SAID, "top_p": 1})),
        ({"body": {"messages": SAID}}, whole("line-3", {"model": "auto", "messages": SAID})),
        (whole("a", {"model": "m", "messages": SAID}), whole("a", {"model": "m", "messages": SAID})),
    ],
)
def test_a_line_of_any_kind_becomes_one_of_the_batch_api(line: dict[str, Any], full: dict[str, Any]) -> None:
    assert full == full_line(line, 3, "auto")


def test_lines_that_are_no_request_are_named(tmp_path: Path) -> None:
    (tmp_path / "in").write_text('{"prompt": "hi"}\n\n[]\n{"text": 1}\n{"body": 1}\n{\n')
    with pytest.raises(ConfigError) as caught:
        write_full_lines(tmp_path / "in", tmp_path / "out", "auto")

    assert ["3", "4", "5", "6"] == [each.split(":")[1] for each in str(caught.value).splitlines()]


def test_the_same_input_for_another_model_is_another_batch(tmp_path: Path) -> None:
    (tmp_path / "in").write_text('{"prompt": "hi"}\n{"prompt": "ho"}\n')
    told = [write_full_lines(tmp_path / "in", tmp_path / "out", model) for model in ("auto", "auto", "math")]

    assert (True, False) == (told[0] == told[1], told[0] == told[2])
    assert ["line-1", "line-2"] == [json.loads(t)["custom_id"] for t in (tmp_path / "out").read_text().splitlines()]


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        write_full_lines(tmp_path / "in", tmp_path / "out", "auto")


def test_blank_lines_stay_so_that_numbers_do(tmp_path: Path) -> None:
    (tmp_path / "in").write_text('{"prompt": "hi"}\n\n \n{"prompt": "ho"}\n')
    write_full_lines(tmp_path / "in", tmp_path / "out", "auto")

    assert [True, False, False, True] == [bool(t) for t in (tmp_path / "out").read_text().splitlines()]
