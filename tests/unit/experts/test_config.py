"""What an operator may write about an expert, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from experts.config import ExpertConfig
from experts.errors import ConfigError
from experts.registry import Expert, Registry, static_replicas

PLACE: dict[str, Any] = {"replicas": [{"base_url": "http://localhost:8000/v1/"}]}


def config(**record: Any) -> ExpertConfig:
    return ExpertConfig.model_validate({"name": "math", **PLACE, **record})


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({"name": "auto"}, "virtual model's name"),
        ({"name": "has space"}, "string_pattern_mismatch"),
        ({"replicas": []}, "found none of them"),
        ({"launch": {"model": "m"}}, "found replicas and launch"),
        ({"replicas": [], "launch": {"model": "m"}}, "only backend: vllm"),
        ({"typo": 1}, "extra_forbidden"),
        ({"limits": {"max_in_flight": 0}}, "greater_than_equal"),
        ({"skills": {"math": {"accuracy": 1.2, "count": 3}}}, "less_than_equal"),
    ],
)
def test_a_bad_record_says_what_is_wrong(record: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(**record)
    told = " ".join(f"{finding['type']} {finding['msg']}" for finding in caught.value.errors())

    assert complaint in told


def test_the_profile_carries_what_the_router_needs() -> None:
    profile = config(domains=["math"], skills={"math": {"accuracy": 0.9, "count": 40}}, tags=["a:b"]).profile()

    assert (("math",), 0.9, 40) == (profile.domains, profile.measured["math"].accuracy, profile.measured["math"].count)
    assert frozenset({"a:b"}) == profile.tags


def test_a_key_never_shows_when_a_replica_or_its_config_is_printed() -> None:
    written = config(replicas=[{"base_url": "http://x/v1", "api_key": "s3cret"}])

    assert "s3cret" not in repr(written) + repr(static_replicas(written))
    assert "s3cret" == static_replicas(written)[0].api_key


def test_a_base_url_loses_its_last_slash() -> None:
    assert "http://localhost:8000/v1" == static_replicas(config())[0].base_url


def expert(**record: Any) -> Expert:
    written = config(**record)
    return Expert(written, written.profile(), static_replicas(written))


def test_two_experts_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="Two experts are called 'math'"):
        Registry([expert(), expert()])


def test_a_fallback_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"fallback names 'gone', which is not one of math"):
        Registry([expert(fallback=["gone"])])


def test_a_snapshot_does_not_change_under_its_reader() -> None:
    registry = Registry([expert()])
    before = registry.snapshot
    registry.swap([expert(name="law")])

    assert (["math"], ["law"]) == (list(before), list(registry.snapshot))


def test_an_expert_that_is_not_routed_is_not_shown_to_the_router() -> None:
    registry = Registry([expert(), expert(name="fuser", routed=False)])

    assert ["math"] == [profile.expert for profile in registry.profiles]
