"""The lines of an input: found where they stand, refused with their number, never held in memory whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.batches.sheet import MOST_LINES, MOST_PROBLEMS, Sheet, read_sheet


def line(custom_id: str, text: str = "x") -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def sheet_of(tmp_path: Path, content: str, longest: int = 10_000) -> Sheet:
    (tmp_path / "in.jsonl").write_text(content)
    return read_sheet(tmp_path / "in.jsonl", longest)


def test_each_body_is_read_from_its_place(tmp_path: Path) -> None:
    first, second = line("a", "grün ☃"), line("b", "line\nbreak")
    content = f"{json.dumps(first, ensure_ascii=False)}\r\n\n  \n{json.dumps(second)}"
    with sheet_of(tmp_path, content) as sheet:
        bodies = [sheet.body(each) for each in sheet.lines]

    assert [first["body"], second["body"]] == bodies
    assert [(1, "a"), (4, "b")] == [(each.number, each.custom_id) for each in sheet.lines]
    assert [] == sheet.problems


def test_a_line_is_as_long_as_it_may_be_and_no_longer(tmp_path: Path) -> None:
    text = json.dumps(line("a"))
    longer = json.dumps(line("b", "x" * 3 * len(text)))
    content = f"{text}\n{longer}\n{json.dumps(line('c'))}"
    sheet = sheet_of(tmp_path, content, len(text))

    assert ["a", "c"] == [each.custom_id for each in sheet.lines]
    assert [("line_too_long", 2)] == [(each.code, each.line) for each in sheet.problems]


def test_only_so_many_problems_are_told(tmp_path: Path) -> None:
    sheet = sheet_of(tmp_path, "{\n" * 3 * MOST_PROBLEMS)

    assert list(range(1, MOST_PROBLEMS + 1)) == [each.line for each in sheet.problems]


def test_a_batch_has_no_more_lines_than_openais(tmp_path: Path) -> None:
    content = "\n".join(json.dumps(line(str(i))) for i in range(MOST_LINES + 1))
    sheet = sheet_of(tmp_path, content)

    assert ["too_many_requests"] == [each.code for each in sheet.problems]
    assert [] == read_sheet(tmp_path / "in.jsonl", 10_000, most_lines=None).problems


@pytest.mark.parametrize("content", ["", "\n", " \n\t\n"])
def test_an_input_without_lines_is_none(tmp_path: Path, content: str) -> None:
    assert ["empty_file"] == [each.code for each in sheet_of(tmp_path, content).problems]
