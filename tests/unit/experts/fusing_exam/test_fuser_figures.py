"""A fuser's figures: what counts, what is counted apart, and how little few panels of a domain say."""

from __future__ import annotations

from experts.fusing_exam import Fused, Panel, Seat, best_first, fuser_body, scored
from experts.profile import FuserFigures
from experts.profiling import Question

RIGHT, WRONG, OTHER = (
    Seat("a", "Answer: 1", True, "1"),
    Seat("b", "Answer: 2", False, "2"),
    Seat("c", "Answer: 2", False, "2"),
)


def panel(number: int, *seats: Seat, domain: str = "math") -> Panel:
    return Panel(Question(({"role": "user", "content": str(number)},), "exact", domain, ("1",)), seats)


def row(number: int, score: float, *seats: Seat, domain: str = "math") -> Fused:
    return Fused(panel(number, *(seats or (RIGHT, WRONG)), domain=domain), score)


def test_panels_on_which_everybody_is_wrong_are_counted_apart() -> None:
    rows = [row(1, 1.0), row(2, 0.0), row(3, 1.0, WRONG, OTHER), row(4, 1.0, WRONG, OTHER)]
    body, figures = fuser_body(rows), scored(rows)

    assert body is not None
    assert figures is not None
    assert (0.5, 2) == (body["accuracy"], body["count"]) == (figures.accuracy, figures.count)
    assert {"accuracy": 1.0, "count": 2} == {k: v for k, v in body["kinds"]["all_wrong"].items() if k != "ci95"}
    assert 2 == body["domains"]["math"]["count"]


def test_each_kind_is_told_apart() -> None:
    rows = [row(1, 1.0), row(2, 0.0, RIGHT, WRONG, OTHER), row(3, 1.0, RIGHT, RIGHT)]
    body = fuser_body(rows, note="kept")

    assert body is not None
    told = {kind: share["accuracy"] for kind, share in body["kinds"].items()}
    assert {"one_right": 1.0, "majority_wrong": 0.0, "majority_right": 1.0} == told
    assert "kept" == body["note"]


def test_without_a_panel_that_counts_there_are_no_figures() -> None:
    assert fuser_body([row(1, 1.0, WRONG, OTHER)]) is None
    assert scored([]) is None


def test_few_panels_of_a_domain_are_pulled_toward_the_fusers_own_mean() -> None:
    much = [row(n, float(n % 2), domain="math") for n in range(100)]
    little = [row(n, 1.0, domain="law") for n in range(100, 102)]
    figures = scored([*much, *little])

    assert figures is not None
    assert abs(figures.in_domain("math") - 0.5) < 0.02
    assert figures.accuracy < figures.in_domain("law") < 0.65
    assert figures.accuracy == figures.in_domain("history") == figures.in_domain(None)


def test_a_lucky_domain_does_not_make_a_fuser_the_best_there() -> None:
    steady = scored([row(n, float(n % 10 > 0), domain="math") for n in range(100)] + [row(200, 1.0, domain="law")])
    lucky = scored([row(n, float(n % 10 == 0), domain="math") for n in range(100)] + [row(200, 1.0, domain="law")])

    assert steady is not None
    assert lucky is not None
    assert ("steady", "lucky") == best_first({"lucky": lucky, "steady": steady}, "law")


def test_each_domain_has_its_own_best_fuser() -> None:
    figures = {
        "counts": FuserFigures(0.5, 100, {"math": 0.9, "law": 0.1}),
        "pleads": FuserFigures(0.55, 100, {"math": 0.2, "law": 0.9}),
    }

    assert ("counts", "pleads") == best_first(figures, "math")
    assert ("pleads", "counts") == best_first(figures, "law")
    assert ("pleads", "counts") == best_first(figures, "heraldry") == best_first(figures, None)
    assert () == best_first({}, "math")
