"""`consilium router train`, `evaluate` and `report` on a small table of one's own, with hashed words as the encoder."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from experts.errors import ConfigError
from gateway.cli import app
from router.config import EncoderConfig
from router.encoder import Encoder
from tests.fakes.encoder import embed

WORDS = {
    "math": "integral equation triangle derivative sum",
    "law": "contract tort court appeal statute",
    "chat": "hello weather holiday music dinner",
}
SKILLS = {"calculator": "math", "lawyer": "law", "friend": "chat"}


@pytest.fixture(scope="module", autouse=True)
def hashed_words() -> Iterator[None]:
    def make(*_: Any, **__: Any) -> Encoder:
        return Encoder(EncoderConfig(model="fake"), load=lambda config: embed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("router.encoder.Encoder", make)
        yield


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Write a table of 240 questions in two halves, and return the options that name it."""
    rng, options, folder = np.random.default_rng(0), [], tmp_path_factory.mktemp("tables")
    for part in ("one", "two"):
        questions, outcomes = [], []
        for place in range(120):
            domain = list(WORDS)[place % 3]
            name = f"{part}-{place}"
            words = " ".join(rng.choice(WORDS[domain].split(), 4))
            split = "dev" if place % 5 == 0 else "train"
            questions.append({"question_id": name, "question": f"{words} {name}?", "domain": domain, "split": split})
            for expert, best in SKILLS.items():
                right = int(rng.random() < (0.95 if best == domain else 0.25))
                answer = "yes" if right else f"no {rng.integers(5)}"
                outcomes.append({"question_id": name, "model_id": expert, "correct": right, "pred": answer})
        options += ["--questions", str(write(folder / f"q-{part}.csv", questions))]
        options += ["--outcomes", str(write(folder / f"o-{part}.csv", outcomes))]
    prices = [{"model_id": name, "price_in": 1, "price_out": place} for place, name in enumerate(SKILLS)]
    return [*options, "--models", str(write(folder / "m.csv", prices))]


def router(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["router", *arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def fitted(tables: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies")
    router("train", *tables, "--policy", "auto,knn", "--out", str(folder))
    return folder


def test_ones_own_table_is_fitted_measured_and_shown(tables: list[str], fitted: Path, tmp_path: Path) -> None:
    told = router(
        "evaluate",
        *tables,
        "--artifacts",
        str(fitted),
        "--json",
        str(tmp_path / "f.json"),
        "--report",
        str(tmp_path / "r"),
    ).output
    shown = router("report", str(tmp_path / "r")).output

    figures = json.loads((tmp_path / "f.json").read_text())
    names = [row["policy"] for row in figures["rows"]]
    assert list(SKILLS) == figures["pool"]
    assert 48 == figures["n"]
    assert {"random", "best_single", "true_domain", "oracle", "auto", "knn", "auto+vote3", "auto+voteall"} <= set(names)
    assert {"shuffled_categories", "shuffled_auto"} == set(figures["controls"])
    assert "48 questions are few" in told
    assert "Route: auto gains" in told
    assert shown.endswith("report.html.\n")
    assert (tmp_path / "r" / "report.html").stat().st_size > 5000


def test_some_experts_and_one_policy_can_be_measured(tables: list[str], fitted: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.json"

    router(
        "evaluate", *tables, "--artifacts", str(fitted), "--experts", "lawyer, friend", "--policy", "knn",
        "--no-controls", "--json", str(out),
    )  # fmt: skip

    figures = json.loads(out.read_text())
    assert ["lawyer", "friend"] == figures["pool"]
    assert {"shuffled_categories"} == set(figures["controls"])
    assert "auto" not in [row["policy"] for row in figures["rows"]]


def test_measuring_what_was_fitted_on_rings_the_alarm(tables: list[str], fitted: Path) -> None:
    told = router("evaluate", *tables, "--artifacts", str(fitted), "--split", "train", "--no-controls").output

    assert "! 100% of these questions were fitted on: this measures memory, not routing." in told


def test_a_split_that_is_absent_names_the_others(tables: list[str], fitted: Path) -> None:
    with pytest.raises(ConfigError, match=r"the table has dev \(48\), train \(192\)"):
        router("evaluate", *tables, "--artifacts", str(fitted), "--split", "holdout")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "either --prompts, or --questions together with --outcomes"),
        (["--prompts", "p.csv", "--questions", "q.csv", "--outcomes", "o.csv"], "either --prompts"),
        (["--questions", "q.csv"], "--questions and --outcomes belong together"),
        (["--questions", "q.csv", "--outcomes", "o.csv"], "There is no file"),
    ],
)
def test_half_a_command_says_what_is_missing(arguments: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        router("train", *arguments, "--out", str(tmp_path))


def test_a_folder_without_policies_is_named(tables: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no policies"):
        router("evaluate", *tables, "--artifacts", str(tmp_path))
