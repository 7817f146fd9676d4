"""What fusing gains: the same panels, intervals, and nobody chosen by the panels it is counted on."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from experts.fusing_exam import Fused, Panel, Seat, advice, advice_body
from experts.fusing_exam.gain import gain
from experts.profiling import Question


def council(number: int, primary_right: bool) -> Panel:
    seats = (
        Seat("a", "Answer: 1", primary_right, "1", 0.6),
        Seat("b", "Answer: 2", not primary_right, "2", 0.4),
    )
    question = Question(({"role": "user", "content": str(number)},), "exact", "math", ("1",))
    return Panel(question, seats, council=True)


def halves(count: int) -> list[Panel]:
    return [council(number, primary_right=number % 2 == 0) for number in range(count)]


def rows(panels: list[Panel], marks: Mapping[int, float] | float) -> list[Fused]:
    return [Fused(panel, marks if isinstance(marks, float) else marks[number]) for number, panel in enumerate(panels)]


def test_a_fuser_that_surely_beats_the_heaviest_answer_is_advised() -> None:
    panels = halves(60)
    found = advice(panels, {"good": rows(panels, 1.0)}, {panel.key: 0.5 for panel in panels}, ())

    assert found is not None
    told = found.overall
    assert ("synthesize", None) == (found.open, found.contested)
    assert (60, 1.0, 0.5, 0.5) == (told.councils, told.synthesize, told.vote, told.single)
    assert 0.35 < told.over_single.low < 0.5 == told.over_single.mean < told.over_single.high < 0.65
    assert told.over_vote.low == told.over_vote.mean == 0.5


def test_a_fuser_that_only_may_be_better_is_not_advised() -> None:
    panels = halves(20)
    marks = {n: 1.0 if n == 1 else float(panel.heaviest.right) for n, panel in enumerate(panels)}
    found = advice(panels, {"same": rows(panels, marks)}, {panel.key: 1.0 for panel in panels}, ())

    assert found is not None
    assert found.overall.over_single.mean > 0
    assert "single" == found.open


def test_luck_on_the_panels_themselves_is_no_gain() -> None:
    """Of many fusers that guess, the luckiest looks good on its own panels; on others it is as good as any."""
    random = Random(5)
    panels = halves(200)
    guessing = {f"f{n}": rows(panels, {k: float(random.random() < 0.5) for k in range(200)}) for n in range(40)}
    luckiest = max(sum(row.score for row in fused) for fused in guessing.values()) / 200
    found = advice(panels, guessing, {panel.key: 0.5 for panel in panels}, ())

    assert luckiest > 0.55
    assert found is not None
    assert "single" == found.open
    assert abs(found.overall.synthesize - 0.5) < 0.1


def test_where_the_fusers_call_failed_the_heaviest_answer_stands() -> None:
    panels = halves(20)
    answered = [row for row in rows(panels, 1.0) if row.panel.heaviest.right]
    found = advice(panels, {"often away": answered}, {panel.key: 0.5 for panel in panels}, ())

    assert found is not None
    assert 0.5 == found.overall.synthesize == found.overall.single
    assert "single" == found.open


def test_councils_that_are_not_left_to_one_member_anyway_decide() -> None:
    panels = halves(60)
    helped = {n: 1.0 if n < 20 else float(panel.heaviest.right and n % 4 > 0) for n, panel in enumerate(panels)}
    fused, votes = {"helps some": rows(panels, helped)}, {panel.key: 0.5 for panel in panels}
    found = advice(panels, fused, votes, {panel.key for panel in panels[:20]})
    by_all = advice(panels, fused, votes, {panel.key for panel in panels[:9]})

    assert found is not None
    assert found.contested is not None
    assert ("synthesize", 20, 60) == (found.open, found.contested.councils, found.overall.councils)
    assert found.overall.over_single.low <= 0 < found.contested.over_single.low
    assert by_all is not None
    assert ("single", None) == (by_all.open, by_all.contested)


def test_a_handful_of_councils_says_nothing() -> None:
    panels = halves(9)

    assert advice(panels, {"good": rows(panels, 1.0)}, {panel.key: 0.0 for panel in panels}, ()) is None


def test_an_advice_is_told_with_its_intervals() -> None:
    panels = halves(60)
    found = advice(panels, {"good": rows(panels, 1.0)}, {panel.key: 1.0 for panel in panels}, ())

    assert found is not None
    body = advice_body(found, questions="x.jsonl")
    assert {"mean": 0.0, "ci95": [0.0, 0.0]} == body["gain_over_vote"]
    assert ("synthesize", 60, 1.0, 0.5) == (body["open"], body["councils"], body["synthesize"], body["single"])
    assert ("x.jsonl", None) == (body["questions"], body["contested"])


def test_an_interval_is_as_wide_as_chance_and_the_same_every_time() -> None:
    differences = [1.0] * 30 + [-1.0] * 10 + [0.0] * 60
    found = gain(differences)

    assert found == gain(differences[::-1])
    assert found.mean == 0.2
    assert abs((found.high - found.low) / 2 - 1.96 * 0.06) < 0.02
