"""The YAML file: what is read, and that every complaint names file, line and mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aggregator import FusionConfig
from experts.errors import ConfigError
from gateway.catalogue.references import roles_of
from gateway.configuration import GatewayConfig, config_path, load_config
from gateway.meaning import check_strategy, default_expert

GOOD = """
experts:
  - name: math
    domains: [math]
    replicas: [{base_url: "http://${HOST:-localhost}:8000/v1", api_key: "${KEY}"}]
  - name: base
    replicas: [{base_url: "http://localhost:8001/v1"}]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "consilium.yaml"
    path.write_text(text)
    return path


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(written(folder, text), {"KEY": "k"})
    return str(caught.value)


def test_variables_are_filled_in_with_their_defaults(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, GOOD), {"KEY": "k"})
    replica = config.experts[0].replicas[0]

    assert ("http://localhost:8000/v1", "k") == (str(replica.base_url), replica.api_key.get_secret_value())


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"uses \$\{KEY\}, which is not set"):
        load_config(written(tmp_path, GOOD), {})


def test_an_unknown_key_is_named_with_its_line(tmp_path: Path) -> None:
    told = complaint(tmp_path, GOOD.replace("domains:", "domain:"))

    assert "consilium.yaml:4: experts.0.domain: unknown key" in told


def test_every_mistake_is_told_not_the_first_alone(tmp_path: Path) -> None:
    told = complaint(tmp_path, GOOD.replace("domains:", "domain:") + "fusion: {quorum: 0}\n")

    assert 2 == len(told.splitlines())
    assert ":8: fusion.quorum" in told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("experts: [", "not valid YAML"),
        ("", "empty or not a mapping"),
        ("- a", "empty or not a mapping"),
        ("experts: []", "experts: List should have at least 1 item"),
        ("experts: [{name: a}]", "say where 'a' runs"),
    ],
)
def test_what_is_no_configuration_is_one_clear_sentence(tmp_path: Path, text: str, words: str) -> None:
    assert words in complaint(tmp_path, text)


def test_a_missing_file_points_to_the_builtin_one() -> None:
    with pytest.raises(ConfigError, match="builtin:pocket"):
        config_path("nowhere.yaml")


@pytest.mark.parametrize("name", ["pocket"])
def test_the_configurations_that_ship_are_good(name: str) -> None:
    config = load_config(config_path(f"builtin:{name}"), {})

    assert config.routing.default == default_expert(config)


def test_the_example_configuration_is_good() -> None:
    path = Path(__file__).parents[3] / "deploy" / "config.example.yaml"

    assert len(load_config(path, {}).experts) >= 3


def test_the_generalist_is_named_or_the_expert_without_domains(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, GOOD), {"KEY": "k"})
    named = config.model_copy(update={"routing": config.routing.model_copy(update={"default": "math"})})
    wrong = config.model_copy(update={"routing": config.routing.model_copy(update={"default": "gone"})})

    assert ("base", "math") == (default_expert(config), default_expert(named))
    with pytest.raises(ConfigError, match=r"routing\.default names 'gone'"):
        default_expert(wrong)


@pytest.mark.parametrize(
    ("fusion", "words"),
    [
        ({"fuser": "gone"}, r"fusion\.fuser names 'gone'"),
        ({"cascade": {"judge": "gone"}}, r"fusion\.cascade\.judge names 'gone'"),
        ({"decompose": {"planner": "gone"}}, r"fusion\.decompose\.planner names 'gone'"),
        (
            {"panel": {"roles": [{"name": "news", "instructions": "x", "expert": "gone"}]}},
            r"fusion\.panel\.roles\.news names 'gone'",
        ),
    ],
)
def test_who_is_given_a_task_in_a_fusion_must_exist(tmp_path: Path, fusion: dict[str, Any], words: str) -> None:
    config = load_config(written(tmp_path, GOOD), {"KEY": "k"})
    wrong = config.model_copy(update={"fusion": FusionConfig.model_validate(fusion)})

    with pytest.raises(ConfigError, match=words):
        default_expert(wrong)
    assert {"gone"} == {*roles_of(wrong).values()}


@pytest.mark.parametrize(
    ("fusion", "words"),
    [
        ({"strategy": "guess"}, r"fusion\.strategy: There is no fusion strategy 'guess'"),
        ({"auto": {"open": "guess"}}, r"fusion\.auto\.open: There is no"),
        ({"auto": {"closed": "auto"}}, r"fusion\.auto\.closed: 'auto' cannot choose itself"),
    ],
)
def test_a_fusion_strategy_must_exist_and_auto_cannot_choose_itself(
    tmp_path: Path, fusion: dict[str, Any], words: str
) -> None:
    config = load_config(written(tmp_path, GOOD), {"KEY": "k"})

    check_strategy(config)
    with pytest.raises(ConfigError, match=words):
        check_strategy(config.model_copy(update={"fusion": FusionConfig.model_validate(fusion)}))


def test_the_schema_describes_every_key() -> None:
    schema = GatewayConfig.model_json_schema()

    assert {"experts", "routing", "fusion", "registry", "residency", "limits", "cache"} == set(schema["properties"])
    assert schema["additionalProperties"] is False
