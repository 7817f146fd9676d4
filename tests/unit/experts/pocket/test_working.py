"""The shown working is true: its lines compute, and the spelling rules spell."""

from __future__ import annotations

import pytest

from experts.pocket import working
from experts.pocket.inflection import with_ending, with_ing, with_s


def test_sums_carry_column_by_column() -> None:
    assert working.add(417, 268) == "417 + 268\n7 + 8 + 0 = 15\n1 + 6 + 1 = 08\n4 + 2 + 0 = 06"


def test_differences_borrow_column_by_column() -> None:
    lines = ["502 - 354", "2 - 4 - 0 = 8, borrow 1", "0 - 5 - 1 = 4, borrow 1", "5 - 3 - 1 = 1, borrow 0"]
    assert working.subtract(502, 354).splitlines() == lines


def test_products_carry_column_by_column() -> None:
    assert working.multiply(37, 8) == "37 x 8\n7 x 8 = 56, plus 0 = 56\n3 x 8 = 24, plus 5 = 29"


@pytest.mark.parametrize(
    ("word", "form"), [("cat", "cats"), ("box", "boxes"), ("city", "cities"), ("day", "days"), ("bench", "benches")]
)
def test_s_is_added_by_rule(word: str, form: str) -> None:
    assert with_s(word).form == form


@pytest.mark.parametrize(
    ("word", "form"),
    [("walk", "walked"), ("bake", "baked"), ("carry", "carried"), ("stop", "stopped"), ("play", "played")],
)
def test_ed_is_added_by_rule(word: str, form: str) -> None:
    assert with_ending(word, "ed").form == form


@pytest.mark.parametrize(
    ("word", "form"), [("tie", "tying"), ("make", "making"), ("agree", "agreeing"), ("run", "running")]
)
def test_ing_is_added_by_rule(word: str, form: str) -> None:
    assert with_ing(word).form == form
