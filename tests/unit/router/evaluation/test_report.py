"""The report is one file that stands alone, its charts are well-formed, and names are escaped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.dom import minidom

import pytest

from experts.errors import ConfigError
from router.evaluation import evaluate_routing, plots
from router.evaluation.report import write_report
from tests.unit.router.evaluation.worlds import dominated, specialists

NAMES = ("plain", "<b>bold</b>", "amp & co")


def charts(page: str) -> list[minidom.Document]:
    return [minidom.parseString("<svg" + part.split("</svg>")[0] + "</svg>") for part in page.split("<svg")[1:]]


def test_a_report_stands_alone_and_its_charts_are_well_formed(tmp_path: Path) -> None:
    world = specialists(300)
    train, test = (replace(side, experts=NAMES) for side in (world.train, world.test))
    figures = evaluate_routing(train, test, {"auto": world.truth, "knn": world.truth}, draws=50)
    (tmp_path / "evaluation.json").write_text(json.dumps(figures))

    page = write_report(tmp_path).read_text()

    titles = [chart.documentElement.getAttribute("aria-label") for chart in charts(page) if chart.documentElement]
    assert [
        "Accuracy of each way of routing",
        "accuracy against USD per 1,000 questions (log)",
        "Share of each category sent to each expert",
        "Accuracy of each expert in each category",
        "Estimated and observed accuracy",
    ] == titles
    assert "<b>bold" not in page
    assert "Route: auto gains" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_without_prices_the_curves_are_left_out(tmp_path: Path) -> None:
    world = dominated(200)
    train, test = (replace(side, costs=side.costs * float("nan")) for side in (world.train, world.test))
    (tmp_path / "evaluation.json").write_text(
        json.dumps(evaluate_routing(train, test, {"auto": world.truth}, draws=10))
    )

    page = write_report(tmp_path).read_text()

    assert "What money buys" not in page
    assert "An expert has no price" in page


def test_the_confusion_of_domains_is_drawn_where_it_was_kept(tmp_path: Path) -> None:
    figures = {"n": 4, "accuracy": 0.75, "confusion": {"labels": ["law", "math"], "counts": [[2, 0], [1, 1]]}}
    (tmp_path / "domains.json").write_text(json.dumps(figures))

    page = write_report(tmp_path).read_text()

    cells = [text.firstChild.nodeValue for text in charts(page)[0].getElementsByTagName("text") if text.firstChild]
    assert ["law", "math", "law", "100", "math", "50", "50"] == cells


def test_an_empty_folder_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no figures: run `consilium router evaluate"):
        write_report(tmp_path)


def test_axes_map_their_ends_and_a_flat_one_its_middle() -> None:
    assert (10.0, 60.0, 110.0) == tuple(plots.Axis(0, 1, 10, 110).at(value) for value in (0.0, 0.5, 1.0))
    assert 60.0 == plots.Axis(0.3, 0.3, 10, 110).at(0.3)
