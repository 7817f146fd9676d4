"""Panels of real answers: what each kind holds, that order gives nothing away, and that a seed says it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from experts.fusing_exam import Panel, PanelKind, Seat, panels
from experts.profiling import Question


def question(number: int = 1, domain: str = "math") -> Question:
    return Question(({"role": "user", "content": f"What is {number}?"},), "exact", domain, answers=(str(number),))


def seat(expert: str, final: str | None, right: bool = False, weight: float = 1.0) -> Seat:
    return Seat(expert, f"I say so.\nAnswer: {final}", right, final, weight)


def made(answers: Sequence[Seat], council: Sequence[str] = (), seed: int = 0, number: int = 1) -> dict[str, Panel]:
    found = list(panels(question(number), answers, council, seed))
    assert len(found) == len({("council" if each.council else each.kind) for each in found})
    return {"council" if each.council else each.kind: each for each in found}


@pytest.mark.parametrize(
    ("marks", "kind"),
    [
        ([("1", True), ("2", False), ("3", False)], "one_right"),
        ([("1", True), (None, False), (None, False)], "one_right"),
        ([("1", True), ("2", False)], "one_right"),
        ([("1", True), ("2", False), ("2", False)], "majority_wrong"),
        ([("1", True), ("1", True), ("2", False), ("2", False), ("2", False)], "majority_wrong"),
        ([("2", False), ("3", False), (None, False)], "all_wrong"),
        ([("1", True), ("1", True), ("2", False)], "majority_right"),
        ([("1", True), ("1", True), ("2", False), ("2", False)], "majority_right"),
        ([("1", True)], "majority_right"),
    ],
)
def test_a_panels_kind_follows_from_its_members_marks(marks: list[tuple[str | None, bool]], kind: PanelKind) -> None:
    seats = tuple(seat(f"e{place}", final, right) for place, (final, right) in enumerate(marks))

    assert kind == Panel(question(), seats).kind


def test_each_kind_that_the_answers_can_make_is_made_once_and_is_what_it_says() -> None:
    answers = [
        seat("a", "1", right=True),
        seat("b", "2"),
        seat("c", "2"),
        seat("d", "3"),
        seat("e", None),
    ]
    found = made(answers)

    assert {"one_right", "majority_wrong", "all_wrong"} == set(found)
    assert ["1"] == [each.final for each in found["one_right"].seats if each.right]
    assert 3 == len({each.final for each in found["one_right"].seats})
    assert Counter({"2": 2, "1": 1}) == Counter(each.final for each in found["majority_wrong"].seats)
    assert 3 == len(found["all_wrong"].seats)


def test_what_the_answers_cannot_make_is_not_made_up() -> None:
    assert {} == made([seat("a", "1", right=True), seat("b", "1", right=True)])
    assert {"one_right"} == set(made([seat("a", "1", right=True), seat("b", "2")]))
    assert {"all_wrong"} == set(made([seat("a", "2"), seat("b", "3")]))
    assert {} == made([seat("a", "2")])
    assert {} == made([])


def test_every_answer_on_a_panel_is_one_that_was_given() -> None:
    answers = [seat(name, final, final == "1") for name, final in zip("abcdef", "112234", strict=True)]

    seats = [each for panel in made(answers, council=["f", "a"]).values() for each in panel.seats]
    assert all(replace(each, weight=1.0) in answers for each in seats)


def test_weights_are_the_routers_among_those_who_sit() -> None:
    answers = [seat("a", "1", True, 0.5), seat("b", "2", weight=0.25), seat("c", "3", weight=0.25), seat("d", "4")]
    unknown = [seat("a", "1", True, 0.0), seat("b", "2", weight=0.0)]

    assert [0.5, 0.25, 0.25] == [each.weight for each in made(answers, council=["a", "b", "c"])["council"].seats]
    assert [0.5, 0.5] == [each.weight for each in made(unknown)["one_right"].seats]


def test_the_council_sits_as_routing_seats_it_and_those_who_did_not_answer_are_missing() -> None:
    answers = [seat("a", "1", right=True), seat("b", "2"), seat("c", "3")]

    assert ["c", "a"] == [each.expert for each in made(answers, council=["c", "gone", "a"])["council"].seats]
    assert "council" not in made(answers, council=["c", "gone"])


def test_nobody_is_seated_together_twice_for_one_question() -> None:
    answers = [seat("a", "1", right=True), seat("b", "2"), seat("c", "3")]
    found = made(answers, council=["a", "b", "c"])

    assert {"council", "all_wrong"} == set(found)
    assert "one_right" == found["council"].kind


def test_the_same_seed_gives_the_same_panels_whatever_the_order_of_the_answers() -> None:
    answers = [seat(name, final, final == "1") for name, final in zip("abcdefgh", "11223456", strict=True)]
    first, again = made(answers, seed=3), made(answers[::-1], seed=3)
    others = [made(answers, seed=seed) for seed in range(4, 10)]

    assert first == again
    assert {kind: panel.key for kind, panel in first.items()} == {kind: panel.key for kind, panel in again.items()}
    assert any(first != other for other in others)


@pytest.mark.parametrize("kind", ["one_right", "majority_wrong"])
def test_where_the_right_answer_sits_says_nothing(kind: str) -> None:
    places: Counter[int] = Counter()
    for number in range(600):
        answers = [seat("a", "1", right=True), seat("b", "2"), seat("c", "2"), seat("d", "3"), seat("e", "4")]
        panel = made(answers, number=number)[kind]
        places[next(place for place, each in enumerate(panel.seats) if each.right)] += 1

    assert {0, 1, 2} == set(places)
    assert max(abs(count - 200) for count in places.values()) < 45, places  # 4 standard deviations are 46


def test_panels_that_differ_in_what_a_fuser_sees_have_other_keys() -> None:
    one, other = (seat("a", "1", right=True), seat("b", "2")), (seat("b", "2"), seat("a", "1", right=True))
    heavier = (seat("a", "1", right=True, weight=2.0), seat("b", "2"))

    assert 3 == len({Panel(question(), seats).key for seats in (one, other, heavier)})
    assert Panel(question(), one).key == Panel(question(), one).key


def test_the_heaviest_is_the_first_of_equals() -> None:
    assert "a" == Panel(question(), (seat("a", "1"), seat("b", "2"))).heaviest.expert
    assert "b" == Panel(question(), (seat("a", "1"), seat("b", "2", weight=2.0))).heaviest.expert
