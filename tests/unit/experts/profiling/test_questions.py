"""Rows and files: which kind of question a row is, what is refused and where, and which questions are asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experts.profiling import Question, QuestionError, chosen, pocket_questions, question_of, read_questions
from experts.profiling.question import Kind

ROW = {"question": "What is 2 + 2?", "answer": "4", "domain": "math"}


def plain(domain: str, number: int) -> Question:
    return question_of({"question": f"{domain} {number}?", "answer": str(number), "domain": domain})


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"tests": ["assert True"]}, "code"),
        ({"options": ["a", "b"], "answer": "A"}, "choice"),
        ({"choices": ["a", "b"], "answer": 1}, "choice"),
        ({"answer": "4"}, "numeric"),
        ({"answer": 4.5}, "numeric"),
        ({"answer": "4 km"}, "numeric"),
        ({"answer": "Nairobi"}, "exact"),
        ({"answer": "a long answer that has far more words than anybody would compare"}, "judged"),
        ({"answer": None}, "judged"),
        ({"answer": "4", "kind": "exact"}, "exact"),
    ],
)
def test_the_kind_is_guessed_from_what_is_there(row: dict[str, Any], kind: Kind) -> None:
    assert kind == question_of({"question": "?", "domain": "x", **row}).kind


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"question": ""}, "no question"),
        ({"domain": ""}, "no domain"),
        ({"kind": "essay"}, "no kind 'essay'"),
        ({"kind": "code"}, "needs tests"),
        ({"kind": "numeric", "answer": "many"}, "not a number"),
        ({"kind": "exact", "answer": None}, "no answer"),
        ({"options": ["a", "b"], "answer": "C"}, "none of the 2 options"),
        ({"options": ["a", "b"], "answer": 2}, "none of the 2 options"),
        ({"options": ["a"], "answer": "A"}, "2 to 26 options"),
        ({"tolerance": "much"}, "neither a number nor a percentage"),
        ({"tolerance": "-1"}, "makes no sense"),
        ({"messages": "hello", "question": ""}, "list of chat messages"),
    ],
)
def test_a_row_that_is_no_question_says_why(row: dict[str, Any], told: str) -> None:
    with pytest.raises(QuestionError, match=told):
        question_of({**ROW, **row})


def test_columns_of_other_data_sets_are_understood_and_strange_ones_left_alone() -> None:
    row = {"prompt": "?", "category": "law", "choices": ["a", "b"], "answer": 0, "src": "x", "skills": "wills; torts"}
    question = question_of(row)

    assert ("law", ("A",), ("wills", "torts")) == (question.domain, question.answers, question.skills)


def test_the_same_rows_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        ROW,
        {"question": "Capital?", "answer": "B", "domain": "geography", "options": ["Paris", "Nairobi"]},
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    options = json.dumps(rows[1]["options"]).replace('"', '""')
    (tmp_path / "q.csv").write_text(
        f'question,answer,domain,options\nWhat is 2 + 2?,4,math,\nCapital?,B,geography,"{options}"\n'
    )
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    parquet.write_table(pyarrow.Table.from_pylist([{"options": None, **rows[0]}, rows[1]]), tmp_path / "q.parquet")
    read = [read_questions(tmp_path / f"q.{ending}") for ending in ("jsonl", "csv", "parquet")]

    assert read[0] == read[1] == read[2]
    assert ["numeric", "choice"] == [question.kind for question in read[0]]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("q.jsonl", '{"question": "?"}\n', "q.jsonl, question 1: there is no domain"),
        ("q.jsonl", "\nno\n", "q.jsonl, line 2: is not JSON"),
        ("q.jsonl", "[]\n", "line 1: is not a JSON object"),
        ("q.jsonl", "", "no questions"),
        ("q.parquet", "no", "is not parquet"),
        ("q.txt", "", "are read from .jsonl, .csv, .parquet"),
    ],
)
def test_a_bad_file_says_where(tmp_path: Path, name: str, content: str, told: str) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(QuestionError, match=told):
        read_questions(tmp_path / name)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match="cannot be read"):
        read_questions(tmp_path / "none.jsonl")


def test_questions_are_chosen_evenly_and_once_and_the_same_again() -> None:
    pool = [plain(domain, number) for domain in ("a", "b", "c") for number in range(30)]
    few = chosen([*pool, *pool], 5, None)

    assert {"a": 5, "b": 5, "c": 5} == {name: sum(q.domain == name for q in few) for name in "abc"}
    assert few == chosen(list(reversed(pool)), 5, None)
    assert {q.key for q in few} < {q.key for q in chosen(pool, 10, None)}
    assert ["a", "b", "c", "a"] == [question.domain for question in chosen(pool, 5, 4)]
    assert 90 == len(chosen([*pool, *pool], None, None))


def test_equal_questions_have_equal_keys_and_other_answers_others() -> None:
    assert plain("a", 1).key == plain("a", 1).key
    assert question_of({**ROW, "answer": "5"}).key != question_of(ROW).key


def test_the_built_in_questions_are_the_same_every_time() -> None:
    assert pocket_questions(5) == pocket_questions(5)
    assert 25 == len({question.key for question in pocket_questions(5)})
