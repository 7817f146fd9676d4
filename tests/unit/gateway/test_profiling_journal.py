"""Marks kept while an expert is measured: whose they are, and what a crash leaves of them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from experts.config import ExpertConfig
from experts.profiling import question_of
from gateway.profiling_journal import Journal, Marked, answer_key

QUESTION = question_of({"question": "What is 1?", "answer": "1", "domain": "math"})
EXPERT = ExpertConfig.model_validate({"name": "a", "replicas": [{"base_url": "http://x/v1"}]})


def test_marks_outlive_a_crash_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Journal(path) as journal:
        journal.add("k", Marked(1.0, 5, 12.5, 1e-6, True))
    with path.open("a") as file:
        file.write('{"key": "torn", "at": 1')
    with Journal(path) as journal:
        journal.add("l", Marked(0.0))
    with Journal(path) as journal:
        known = journal.known

    assert {"k": Marked(1.0, 5, 12.5, 1e-6, True), "l": Marked(0.0)} == known
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_marks_are_too_old_after_a_week_and_strange_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"key": "old", "at": 1.0, "score": 1.0}) + "\n[]\n{}\nnull\n")
    with Journal(path) as journal:
        assert {} == journal.known


def test_a_journal_is_gone_when_everything_was_put_to_use(tmp_path: Path) -> None:
    with Journal(tmp_path / "a.jsonl") as journal:
        journal.add("k", Marked(1.0))
        journal.forget()

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [{"model": "newer"}, {"name": "b"}, {"backend": "vllm"}],
)
def test_another_model_under_the_name_has_answered_nothing_yet(change: dict[str, str]) -> None:
    assert answer_key(EXPERT, QUESTION, {}, None) != answer_key(EXPERT.model_copy(update=change), QUESTION, {}, None)


def test_what_does_not_change_an_answer_does_not_change_its_key() -> None:
    renamed = EXPERT.model_copy(update={"description": "new words", "domains": ["math"]})

    assert answer_key(EXPERT, QUESTION, {}, None) == answer_key(renamed, QUESTION, {}, "a judge")
    assert answer_key(EXPERT, QUESTION, {"max_tokens": 1}, None) != answer_key(EXPERT, QUESTION, {}, None)
