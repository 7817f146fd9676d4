"""Domains by examples: what is filed where, and which classifier `auto` takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from experts.profile import SkillProfile
from router.artifacts import Manifest, save_head
from router.classifiers import Ground, build_classifier
from router.classifiers.blend import BlendHead
from router.classifiers.centroid import CentroidHead, domains_in_play
from router.config import RoutingConfig
from router.taxonomy import default_taxonomy
from tests.fakes.encoder import DIMENSION, FakeEncoder, embed

TAXONOMY = default_taxonomy()
MATH = SkillProfile("math-7b", domains=("math",), description="Mathematics.", examples=("What is 2 + 2?",))
GENERAL = SkillProfile("general", description="Answers anything.")


@pytest.fixture
def artifact(tmp_path: Path) -> str:
    entries = [TAXONOMY.entries[name] for name in ("math", "physics", "chemistry", "biology")]
    texts = [text for entry in entries for text in entry.examples]
    head = BlendHead().fit(embed(texts), texts, [entry.name for entry in entries for _ in entry.examples])
    save_head(head, Manifest("fake", DIMENSION, head.domains), tmp_path)
    return str(tmp_path)


def test_an_experts_examples_and_description_join_those_of_its_domains() -> None:
    filed = domains_in_play([MATH], TAXONOMY, None)

    assert filed == {"math": (*TAXONOMY.examples("math"), "What is 2 + 2?", "Mathematics.")}


def test_an_expert_without_domains_is_a_domain_of_its_own() -> None:
    poet = SkillProfile("poet", examples=("Write a sonnet.",))

    assert domains_in_play([poet], TAXONOMY, None) == {"poet": ("Write a sonnet.",)}


def test_a_default_expert_that_only_describes_itself_is_no_domain() -> None:
    assert list(domains_in_play([MATH, GENERAL], TAXONOMY, "general")) == ["math"]
    assert list(domains_in_play([MATH, GENERAL], TAXONOMY, None)) == ["math", "general"]


def test_a_group_stays_whole_where_nothing_overlaps_it() -> None:
    scientist = SkillProfile("scientist", domains=("science",))

    assert list(domains_in_play([MATH, scientist], TAXONOMY, None)) == ["math", "science"]


def test_overlapping_names_are_taken_apart() -> None:
    scientist = SkillProfile("scientist", domains=("science",))
    physicist = SkillProfile("physicist", domains=("physics",))

    assert list(domains_in_play([scientist, physicist], TAXONOMY, None)) == ["physics", "chemistry", "biology"]


def test_a_domain_without_any_example_is_left_out() -> None:
    assert domains_in_play([SkillProfile("geo", domains=("geography",))], TAXONOMY, None) == {}


def test_an_unknown_domain_is_known_by_its_experts_examples() -> None:
    geo = SkillProfile("geo", domains=("geography",), examples=("What is the capital of Peru?",))

    assert domains_in_play([geo], TAXONOMY, None) == {"geography": ("What is the capital of Peru?",)}


def test_the_nearest_examples_and_the_centroid_both_count() -> None:
    vectors = {"a": embed(["alpha beta", "gamma delta"]), "b": embed(["epsilon zeta"])}
    query = embed(["alpha beta"])

    for share in (0.0, 0.7, 1.0):
        assert CentroidHead(vectors, nearest_weight=share).judge(query, [""]).probabilities.argmax() == 0


def test_one_domain_alone_is_certain_but_not_always_familiar() -> None:
    head = CentroidHead({"a": embed(["alpha beta"])})

    texts = ["unheard thing", "alpha beta"]
    found = head.judge(embed(texts), texts)

    assert list(found.probabilities[:, 0]) == [1.0, 1.0]
    assert list(found.familiarity) == [0.0, 1.0]


@pytest.mark.parametrize(
    ("profiles", "kind"),
    [
        ([MATH], "linear"),
        ([MATH, SkillProfile("scientist", domains=("science",))], "linear"),
        ([MATH, GENERAL], "linear"),
        ([MATH, SkillProfile("geo", domains=("geography",))], "centroid"),
        ([MATH, SkillProfile("poet", examples=("Write a sonnet.",))], "centroid"),
    ],
)
async def test_auto_takes_the_head_when_it_knows_every_domain(
    artifact: str, profiles: list[SkillProfile], kind: str
) -> None:
    config = RoutingConfig(artifact=artifact, default="general")

    classifier = await build_classifier(Ground(config, FakeEncoder(), TAXONOMY, profiles))

    assert classifier.name == kind


async def test_auto_does_without_the_shipped_head_when_the_encoder_is_another() -> None:
    classifier = await build_classifier(Ground(RoutingConfig(), FakeEncoder(), TAXONOMY, [MATH]))

    assert classifier.name == "centroid"
