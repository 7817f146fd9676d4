"""The shown working is true: its lines compute, and the spelling rules spell."""

from __future__ import annotations

import pytest

from experts.pocket import working
from experts.pocket.inflection import with_ending, with_ing, with_s


def test_sums_carry_column_by_column() -> None:
    expected = "7 + 8 + 0 = 15, write 5, carry 1\n1 + 6 + 1 = 8, write 8, carry 0\n4 + 2 + 0 = 6"
    assert working.add(417, 268) == expected


def test_differences_borrow_column_by_column() -> None:
    expected = (
        "from 2 take 4: 12 - 4 = 8, borrow 1\nfrom 0 take 6: 10 - 6 = 4, borrow 1\nfrom 5 take 4: 5 - 4 = 1, borrow 0"
    )
    assert working.subtract(502, 354) == expected


def test_products_carry_column_by_column() -> None:
    expected = "7 x 8 = 56, plus 0 = 56, write 6, carry 5\n3 x 8 = 24, plus 5 = 29"
    assert working.multiply(37, 8) == expected


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
