"""The committed weights: complete, small, in the format vLLM loads, and as good as promised."""

from __future__ import annotations

import json
from typing import Any

import pytest

from experts.pocket import DOMAINS, weights_folder

FOLDER = weights_folder()
ADAPTERS = (*DOMAINS, "generalist", "fuser")


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "figures.json").read_text())
    return found


@pytest.mark.parametrize("name", ["base/model.safetensors", "base/config.json", "MODEL_CARD.md", "figures.json"])
def test_the_base_and_its_papers_are_there(name: str) -> None:
    assert (FOLDER / name).stat().st_size > 0


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_adapters_are_plain_lora_of_one_rank(adapter: str) -> None:
    settings = json.loads((FOLDER / adapter / "adapter_config.json").read_text())
    assert (FOLDER / adapter / "adapter_model.safetensors").exists()
    assert (settings["peft_type"], settings["r"], settings["bias"], settings["modules_to_save"]) == (
        "LORA",
        64,
        "none",
        None,
    )
    assert len(settings["target_modules"]) == 7


def test_everything_together_is_at_most_25_megabytes() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= 25_000_000


@pytest.mark.parametrize("domain", DOMAINS)
def test_each_specialist_masters_its_domain_and_the_base_does_not(figures: dict[str, Any], domain: str) -> None:
    own, base = figures["accuracy"][domain][domain], figures["accuracy"]["base"][domain]
    assert figures["questions_per_domain"] >= 200
    assert own >= 0.85
    assert own - base >= 0.25


def test_the_right_specialist_beats_the_best_single_model_by_far(figures: dict[str, Any]) -> None:
    assert figures["mixed"]["right_specialist"] - figures["mixed"]["best_single"]["accuracy"] >= 0.25


@pytest.mark.parametrize("kind", ["councils", "mixed"])
def test_the_fuser_is_measured_beside_the_rules_that_need_no_fuser(figures: dict[str, Any], kind: str) -> None:
    found = figures["fuser"][kind]
    assert found["panels"] >= 150
    rules = {"synthesize", "own_words", "rank", "heaviest", "majority", "vote"}
    assert rules <= set(found["of_those_with_a_right_answer"])
    assert {"synthesize", "rank"} == set(found["planted_changes"])


def test_the_fuser_finds_the_right_answer_of_a_council_and_no_plant_turns_it(figures: dict[str, Any]) -> None:
    councils = figures["fuser"]["councils"]
    found = councils["of_those_with_a_right_answer"]
    assert found["synthesize"] >= max(0.9, found["vote"])
    assert found["rank"] >= 0.8
    assert min(councils["by_domain"].values()) >= 0.9
    assert councils["planted_changes"]["synthesize"] <= 0.02


@pytest.mark.parametrize("stage", ["base", *ADAPTERS])
def test_every_round_of_training_says_what_it_cost(figures: dict[str, Any], stage: str) -> None:
    rounds = figures["training"][stage]
    assert rounds
    assert all({"tokens", "steps", "seconds", "seed", "hardware"} <= set(each) for each in rounds)
