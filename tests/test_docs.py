"""The pages say everything the code has: settings, metrics, errors, routes, policies, strategies, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from aggregator import STRATEGIES
from experts.config import ExpertConfig
from gateway.app import create_app
from gateway.configuration import GatewayConfig, config_path, load_config
from gateway.errors import STATUS
from gateway.metrics import Metrics
from gateway.schemas import RoutingOptions
from gateway.settings import Settings
from router import CLASSIFIERS, POLICIES, RoutingConfig

DOCS = Path(__file__).parent.parent / "docs"


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from keys(inner)


def missing(names: Iterator[str] | list[str], text: str) -> list[str]:
    return sorted({name for name in names if f"`{name}`" not in text and f".{name}`" not in text})


@pytest.mark.parametrize("model", [ExpertConfig, RoutingConfig, GatewayConfig])
def test_every_key_of_the_file_is_explained(model: type[BaseModel]) -> None:
    text = page("configuration").replace("`experts:`", "`experts`").replace("`routing:`", "`routing`")

    assert [] == missing(keys(model), text.replace("`fusion:`", "`fusion`"))


def test_every_variable_is_explained() -> None:
    assert [] == missing([f"CONSILIUM_{name.upper()}" for name in Settings.model_fields], page("configuration"))


def test_every_option_of_a_request_is_explained() -> None:
    assert [] == missing([name for name in RoutingOptions.model_fields if name != "experts"], page("api"))


def test_every_metric_is_explained() -> None:
    text = Metrics(list).text().decode()
    names = re.findall(r"^# TYPE (\S+) ", text, flags=re.MULTILINE)

    assert len(names) >= 10
    assert [] == missing(names, page("operations"))


def test_every_error_code_is_explained() -> None:
    assert [] == missing([row.code for row in STATUS.values()], page("errors"))


def test_every_route_is_explained() -> None:
    config = load_config(config_path("builtin:pocket"))
    paths = create_app(Settings(), config, Path()).openapi()["paths"]
    told = re.findall(r"`(?:GET|POST|DELETE) ([^`]+)`", page("api"))

    assert sorted(paths) == sorted(set(told))


@pytest.mark.parametrize(("table", "where"), [(POLICIES, "routing"), (CLASSIFIERS, "routing"), (STRATEGIES, "fusion")])
def test_every_kind_is_explained(table: dict[str, object], where: str) -> None:
    assert [] == missing(list(table), page(where))


def test_links_between_pages_lead_somewhere() -> None:
    root = DOCS.parent
    pages = [*DOCS.glob("*.md"), root / "README.md", root / "CONTRIBUTING.md"]
    links = [(source, link) for source in pages for link in re.findall(r"\]\(([^)#]+)[^)]*\)", source.read_text())]
    broken = [
        (source.name, link) for source, link in links if "://" not in link and not (source.parent / link).exists()
    ]

    assert len(links) > 10
    assert [] == broken


def test_every_promise_names_tests_that_exist() -> None:
    written = (path.read_text() for path in sorted((DOCS.parent / "tests").rglob("test_*.py")))
    known = {name for text in written for name in re.findall(r"^(?:async )?def (test_\w+)", text, flags=re.MULTILINE)}
    sections = re.split(r"^## (\d+)\. ", page("promises"), flags=re.MULTILINE)[1:]
    named = {int(number): re.findall(r"`(test_\w+)`", text) for number, text in zip(*[iter(sections)] * 2, strict=True)}

    assert [*range(1, 19)] == [number for number, tests in named.items() if tests]
    assert [] == [name for tests in named.values() for name in tests if name not in known]


def test_every_test_that_a_page_names_is_there() -> None:
    written = "\n".join(path.read_text() for path in DOCS.parent.glob("tests/**/*.py"))
    named = {name for page in DOCS.glob("*.md") for name in re.findall(r"`(test_[a-z0-9_]+)`", page.read_text())}

    assert len(named) > 20
    assert [] == sorted(name for name in named if f"def {name}(" not in written)


def test_every_page_is_in_the_menu() -> None:
    menu = (DOCS.parent / "mkdocs.yml").read_text()

    assert [] == [each.name for each in DOCS.glob("*.md") if each.name not in menu]
