"""The fitted head: regression on vectors and words, remembered neighbours, their blend, and how it is kept."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from experts.errors import ConfigError
from router.artifacts import Manifest, load_head, parameters, save_head
from router.classifiers import Ground, build_classifier
from router.classifiers.blend import BlendHead
from router.classifiers.lexical import BUCKETS, places, word_matrix, word_scores
from router.classifiers.linear import LinearHead, balanced
from router.classifiers.memory import Memory, highest
from router.config import RoutingConfig
from router.encoder import Vectors
from router.taxonomy import OUT_OF_SCOPE, default_taxonomy
from tests.fakes.encoder import DIMENSION, FakeEncoder, embed

STRAYS = ["blub flop grmbl", "quux corge grault", "zzz xxx yyyyy wwwww"]


def examples(*domains: str, strays: bool = False) -> tuple[Vectors, list[str], list[str]]:
    entries = [default_taxonomy().entries[domain] for domain in domains]
    labels = [entry.name for entry in entries for _ in entry.examples]
    texts = [text for entry in entries for text in entry.examples]
    if strays:
        texts, labels = texts + STRAYS, labels + [OUT_OF_SCOPE] * len(STRAYS)
    return embed(texts), texts, labels


def fitted(*domains: str, strays: bool = False) -> BlendHead:
    return BlendHead().fit(*examples(*domains, strays=strays))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    head = fitted("math", "law", "history", strays=True)
    save_head(head, Manifest("fake", DIMENSION, head.domains, parameters=parameters(head)), tmp_path)
    return tmp_path


def test_hyper_parameters_are_stored_as_given() -> None:
    head = BlendHead(C=2.5, words=1.0, balance=0.0, share=0.3)

    assert parameters(head) == {"C": 2.5, "words": 1.0, "balance": 0.0, "share": 0.3}


def test_use_before_fit_is_an_error() -> None:
    with pytest.raises(NotFittedError):
        BlendHead().judge(embed(["x"]), ["x"])
    with pytest.raises(NotFittedError):
        LinearHead().predict_proba(embed(["x"]), ["x"])


@pytest.mark.parametrize("strays", [False, True])
@pytest.mark.parametrize("domains", [("math", "law"), ("math", "law", "history")])
def test_it_learns_two_domains_as_well_as_three(domains: tuple[str, ...], strays: bool) -> None:
    head = fitted(*domains, strays=strays)
    vectors, texts, labels = examples(*domains)

    found = head.judge(vectors, texts)

    assert found.probabilities.sum(axis=1) == pytest.approx(1.0)
    assert [head.domains[place] for place in found.probabilities.argmax(axis=1)] == labels


def test_what_is_out_of_scope_is_no_domain_but_unfamiliar() -> None:
    head = fitted("math", "law", "history", strays=True)
    known, texts, _ = examples("math", "law", "history")

    assert head.domains == ("history", "law", "math")
    assert head.judge(embed(STRAYS), STRAYS).familiarity.max() < head.judge(known, texts).familiarity.mean()


def test_calibration_makes_an_unsure_head_surer_when_it_is_right() -> None:
    vectors, texts, labels = examples("math", "law")
    plain, calibrated = BlendHead(C=0.01).fit(vectors, texts, labels), BlendHead(C=0.01).fit(vectors, texts, labels)

    calibrated.calibrate(calibrated.blend(vectors, texts), labels)

    assert calibrated.temperature_ < 1.0
    before, after = plain.judge(vectors, texts), calibrated.judge(vectors, texts)
    assert after.probabilities.max(axis=1).mean() > before.probabilities.max(axis=1).mean()


def test_without_strays_one_known_text_in_twenty_is_as_likely_foreign_as_not() -> None:
    head = fitted("math", "law")
    vectors, texts, labels = examples("math", "law")

    head.calibrate(head.blend(vectors, texts), labels)

    assert np.quantile(head.judge(vectors, texts).familiarity, 0.05) == pytest.approx(0.5, abs=0.1)


def test_familiarity_is_the_probability_of_belonging_anywhere_once_that_was_learned() -> None:
    head = fitted("math", "law", strays=True)
    vectors, texts, labels = examples("math", "law", strays=True)

    head.learn_scope(head.blend(vectors, texts).signs, labels)
    found = head.judge(vectors, texts).familiarity

    strange = np.array([label == OUT_OF_SCOPE for label in labels])
    assert found[strange].max() < 0.5 < found[~strange].min()


def test_scope_stays_as_it_was_where_nothing_out_of_it_was_held_out() -> None:
    head = fitted("math", "law", strays=True)
    vectors, texts, labels = examples("math", "law")
    before = head.scope_.copy()

    head.learn_scope(head.blend(vectors, texts).signs, labels)

    assert np.array_equal(head.scope_, before)


def test_domains_and_their_sources_weigh_alike() -> None:
    weights = balanced(["law", "law", "law", "math"], ["exam", "exam", "own", "own"])

    assert weights.mean() == pytest.approx(1.0)
    assert weights[0] + weights[1] == pytest.approx(weights[2])
    assert weights[:3].sum() == pytest.approx(weights[3])


def test_words_are_hashed_alike_when_fitting_and_when_asked() -> None:
    texts = ["Write {x} in C++, 3 times!", "", "the the the", "a" * 5000]
    coefficients = np.random.default_rng(0).normal(size=(BUCKETS, 3)).astype(np.float32)

    assert word_scores(texts, coefficients) == pytest.approx(word_matrix(texts) @ coefficients, abs=1e-4)


def test_every_number_is_the_same_word() -> None:
    assert list(places("add 17 and 4")) == list(places("add 3 and 2024"))


def test_neighbours_vote_and_strays_are_never_close() -> None:
    vectors = embed(["alpha beta", "alpha gamma", "delta delta", "blub blub"])
    memory = Memory.fit(vectors, np.array([0, 0, 1, 2]), classes=3, elsewhere=2)

    found = memory.ask(vectors)

    assert list(found.votes.argmax(axis=1)) == [0, 0, 1, 2]
    assert found.closeness[3] < found.closeness[:3].min()


def test_a_kept_head_says_the_same_after_loading(folder: Path) -> None:
    vectors, texts, _ = examples("math", "law", "history", strays=True)
    head = fitted("math", "law", "history", strays=True)

    loaded, _ = load_head(folder, encoder="fake")

    for before, after in [(head.judge(vectors, texts), loaded.judge(vectors, texts))]:
        assert after.probabilities == pytest.approx(before.probabilities, abs=1e-4)
        assert after.familiarity == pytest.approx(before.familiarity, abs=1e-4)


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
    assert np.isfinite(load_head(folder, encoder="fake")[0].linear_.coef_).all()


@pytest.mark.parametrize("size", [30, 99, 2_999, 3_100, 12_034])
def test_the_highest_values_are_found_among_few_and_many(size: int) -> None:
    values = np.random.default_rng(size).integers(0, 500, size).astype(np.float32)

    found = highest(values, 30)

    assert len(set(found.tolist())) == 30
    assert sorted(values[found].tolist()) == sorted(values.tolist())[-30:]


async def test_a_head_is_read_from_disk_once_until_its_files_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def reading(where: Path, *, encoder: str) -> tuple[BlendHead, Manifest]:
        read.append(where)
        return load_head(where, encoder=encoder)

    monkeypatch.setattr("router.classifiers.load_head", reading)
    ground = Ground(RoutingConfig(artifact=str(folder), classifier="linear"), FakeEncoder(), default_taxonomy())
    for _ in range(3):
        await build_classifier(ground)
    once = len(read)
    os.utime(folder / "manifest.json", ns=(1, 1))
    await build_classifier(ground)

    assert (1, 2) == (once, len(read))
