"""The fitted head, and how it is kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from experts.errors import ConfigError
from router.artifacts import Manifest, load_head, save_head
from router.classifiers.linear import LinearHead, balance
from router.encoder import Vectors
from router.taxonomy import default_taxonomy
from tests.fakes.encoder import DIMENSION, embed


def examples(*domains: str) -> tuple[Vectors, list[str]]:
    entries = [default_taxonomy().entries[domain] for domain in domains]
    labels = [entry.name for entry in entries for _ in entry.examples]
    return embed([text for entry in entries for text in entry.examples]), labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    vectors, labels = examples("math", "law", "history")
    head = LinearHead(anchors=4).fit(vectors, labels, calibration=(vectors, labels))
    save_head(head, Manifest("fake", DIMENSION, head.domains, parameters={"anchors": 4}), tmp_path)
    return tmp_path


def test_hyper_parameters_are_stored_as_given() -> None:
    head = LinearHead(C=2.5, balanced=False, anchors=7, seed=3)

    assert (head.C, head.balanced, head.anchors, head.seed) == (2.5, False, 7, 3)


def test_use_before_fit_is_an_error() -> None:
    with pytest.raises(NotFittedError):
        LinearHead().predict_proba(embed(["x"]))


@pytest.mark.parametrize("domains", [("math", "law"), ("math", "law", "history")])
def test_it_learns_two_domains_as_well_as_three(domains: tuple[str, ...]) -> None:
    vectors, labels = examples(*domains)

    head = LinearHead(anchors=4).fit(vectors, labels)

    probabilities = head.predict_proba(vectors)
    assert probabilities.sum(axis=1) == pytest.approx(1.0)
    assert [head.domains[place] for place in probabilities.argmax(axis=1)] == labels


def test_calibration_makes_an_unsure_head_surer_when_it_is_right() -> None:
    vectors, labels = examples("math", "law")

    plain = LinearHead(C=0.01, anchors=4).fit(vectors, labels)
    calibrated = LinearHead(C=0.01, anchors=4).fit(vectors, labels, calibration=(vectors, labels))

    assert calibrated.temperature_ < 1.0
    assert calibrated.predict_proba(vectors).max(axis=1).mean() > plain.predict_proba(vectors).max(axis=1).mean()


def test_domains_and_their_sources_weigh_alike() -> None:
    weights = balance(["law", "law", "law", "math"], ["exam", "exam", "own", "own"])

    assert weights.mean() == pytest.approx(1.0)
    assert weights[0] + weights[1] == pytest.approx(weights[2])
    assert weights[:3].sum() == pytest.approx(weights[3])


def test_a_kept_head_says_the_same_after_loading(folder: Path) -> None:
    vectors, labels = examples("math", "law", "history")
    fitted = LinearHead(anchors=4).fit(vectors, labels, calibration=(vectors, labels))

    loaded, _ = load_head(folder, encoder="fake")

    assert loaded.predict_proba(vectors) == pytest.approx(fitted.predict_proba(vectors), abs=1e-4)
    assert loaded.familiarity(vectors) == pytest.approx(fitted.familiarity(vectors), abs=1e-4)


def test_another_encoders_head_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="fitted on the encoder 'fake', but routing.encoder.model is 'other'"):
        load_head(folder, encoder="other")


@pytest.mark.parametrize(
    "change", [{"format": 99}, {"domains": ["math"]}, {"dimension": 3}, {"parameters": {"unknown": 1}}]
)
def test_a_manifest_that_does_not_fit_is_refused(folder: Path, change: dict[str, object]) -> None:
    record = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**record, **change}))

    with pytest.raises(ConfigError, match="holds no usable head"):
        load_head(folder, encoder="fake")


@pytest.mark.parametrize("name", ["manifest.json", "head.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"\x80\x04not an artifact"])
def test_a_missing_or_damaged_file_is_refused(folder: Path, name: str, content: bytes | None) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)

    with pytest.raises(ConfigError, match="holds no usable head"):
        load_head(folder, encoder="fake")


def test_a_head_is_kept_without_pickles(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "head.safetensors"}
    assert np.isfinite(load_head(folder, encoder="fake")[0].coef_).all()
