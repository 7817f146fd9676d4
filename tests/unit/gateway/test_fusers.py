"""Who is chosen to write: by what a query is about, among those that can serve, by figures under whatever label."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from experts.profile import FuserFigures, SkillProfile
from experts.store import Document
from gateway.catalogue import Catalogue
from gateway.catalogue.fusing import ADVICE, figures_of
from gateway.errors import InvalidRequest
from gateway.fusers import Fusers, topic
from router.taxonomy import Taxonomy
from router.types import Assignment, RoutingDecision

FIGURES = {
    "counts": FuserFigures(0.6, 100, {"math": 0.9, "science": 0.2}),
    "reads": FuserFigures(0.7, 100, {"math": 0.3, "science": 0.8}),
    "untried": None,
}


def fusers(
    figures: Mapping[str, FuserFigures | None] = FIGURES,
    unfit: Mapping[str, str] | None = None,
    advice: Mapping[str, Any] | None = None,
) -> Fusers:
    snapshot = {
        name: SimpleNamespace(name=name, profile=SkillProfile(name, fusing=found)) for name, found in figures.items()
    }
    found = None if advice is None else Document(ADVICE, 1, advice)
    catalogue = SimpleNamespace(registry=SimpleNamespace(snapshot=snapshot), advice=found)
    taxonomy = Taxonomy(groups={"science": ("physics", "chemistry")})
    return Fusers(cast("Catalogue", catalogue), lambda: unfit or {}, lambda: taxonomy)


def about(**domains: float) -> RoutingDecision:
    return RoutingDecision((Assignment("a", 1.0),), "profile", 0.9, domains)


@pytest.mark.parametrize(
    ("decision", "first"),
    [
        (about(math=0.9, science=0.1), "counts"),
        (about(science=0.6, math=0.4), "reads"),
        (about(physics=0.8, math=0.2), "reads"),
        (about(heraldry=1.0), "reads"),
        (about(), "reads"),
    ],
)
def test_the_best_of_what_the_query_is_about_comes_first(decision: RoutingDecision, first: str) -> None:
    assert first == fusers().best_first(decision)[0]
    assert {"counts", "reads"} == set(fusers().best_first(decision))


def test_whoever_cannot_serve_is_not_named() -> None:
    assert ("reads",) == fusers(unfit={"counts": "draining"}).best_first(about(math=1.0))


def test_nobody_is_named_before_anybody_was_measured() -> None:
    assert () == fusers({"untried": None}).best_first(about(math=1.0))
    assert None is fusers().advice()


def test_a_decision_about_nothing_has_no_topic() -> None:
    assert None is topic(about())
    assert "math" == topic(about(law=0.3, math=0.7))


@pytest.mark.parametrize(
    ("found", "advised"),
    [({"open": "synthesize"}, "synthesize"), ({"open": "single"}, "single"), ({"open": "magic"}, None), ({}, None)],
)
def test_an_advice_that_names_no_strategy_of_ours_is_none(found: Mapping[str, Any], advised: str | None) -> None:
    assert advised == fusers(advice=found).advice()


@pytest.mark.parametrize("found", [{}, {"accuracy": 2, "count": 1}, {"accuracy": 0.5, "count": 0}])
def test_figures_that_make_no_sense_are_refused(found: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="sums"):
        figures_of("sums", found)


def test_what_else_was_found_rides_along() -> None:
    read = figures_of("sums", {"accuracy": 0.5, "count": 4, "expected": {"math": 0.6}, "kinds": {}})

    assert FuserFigures(0.5, 4, {"math": 0.6}) == read
