"""compose.yaml and deploy/boxes: valid, pinned, without secrets, and of one mind with the gateway's configurations."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from gateway.configuration import GatewayConfig, load_config
from tests.deploy.compose_file import ROOT, Unset, example_environment, in_force, load, names_of

PROFILES = ["gpu", "gpu-80gb", "gpu-8x80gb", "cpu", "dev"]
GPU_PROFILES = PROFILES[:3]
FILES = [ROOT / "compose.yaml", *sorted(p for p in (ROOT / "deploy/boxes").glob("*.yaml") if p.stem != "models")]
SECRETS = re.compile(r"KEY|TOKEN|PASSWORD|SECRET")


def services(profile: str) -> dict[str, dict[str, Any]]:
    return dict(load(in_force(profile)).services)


def gateway_of(profile: str) -> dict[str, Any]:
    return services(profile)["gateway-dev" if profile == "dev" else "gateway"]


def configuration(profile: str) -> GatewayConfig:
    named = Path(gateway_of(profile)["environment"]["CONSILIUM_CONFIG"])
    return load_config(ROOT / "deploy/consilium" / named.name)


def compose_schema() -> dict[str, Any]:
    """Return the Compose specification's schema as check-jsonschema carries it."""
    vendored = resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    schema: dict[str, Any] = json.loads(vendored.read_text())
    return schema


def option(command: list[str], name: str, default: str = "") -> str:
    spread = [part for word in command for part in (word.split("=", 1) if word.startswith("--") else [word])]
    return spread[spread.index(name) + 1] if name in spread else default


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_valid_against_the_compose_specifications_schema(path: Path) -> None:
    validator = jsonschema.Draft7Validator(compose_schema())

    assert [] == [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text()))]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_starts_a_gateway_its_store_and_the_monitoring(profile: str) -> None:
    started = services(profile)

    assert {"redis", "prometheus", "grafana"} < started.keys()
    assert 1 == sum("gateway" in names_of(name, body) for name, body in started.items())


def test_nothing_starts_without_a_key() -> None:
    with pytest.raises(Unset, match=r"CONSILIUM_API_KEYS.*\.env"):
        load(example_environment())


def test_the_example_environment_names_every_variable_and_holds_no_secret() -> None:
    example = example_environment()
    optional = {"CONSILIUM_BOX", "CONSILIUM_LOG_LEVEL", "PROMETHEUS_RETENTION"}

    assert load(in_force("gpu")).asked - optional == example.keys()
    assert {""} == {value for name, value in example.items() if SECRETS.search(name)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_secret_is_a_variable_and_never_written_down(path: Path) -> None:
    written = re.findall(r"^\s+(\w+): (\S.*)$", path.read_text(), flags=re.MULTILINE)

    assert [] == [(name, value) for name, value in written if SECRETS.search(name) and not value.startswith("${")]


@pytest.mark.parametrize("profile", PROFILES)
def test_images_have_versions(profile: str) -> None:
    images = {body["image"] for body in services(profile).values()}

    assert [] == [image for image in images if not re.search(r":v?\d+\.\d+\.\d+(-\w+)?$", image)]


def test_our_images_carry_our_version() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version

    assert f"consilium-gateway:{version[1]}" == gateway_of("gpu")["image"]
    assert f"consilium-pocket:{version[1]}" == services("cpu")["pocket"]["image"]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_gateway_runs_without_rights_and_writes_only_where_it_may(profile: str) -> None:
    gateway = gateway_of(profile)
    image = (ROOT / "deploy/gateway.Dockerfile").read_text()

    assert ("10001:10001", True, ["ALL"]) == (gateway["user"], gateway["read_only"], gateway["cap_drop"])
    assert "no-new-privileges:true" in gateway["security_opt"]
    assert f"USER {gateway['user']}" in image
    assert "CONSILIUM_STATE_DIR=/var/lib/consilium" in image
    assert "gateway-state:/var/lib/consilium" in gateway["volumes"]


@pytest.mark.parametrize("profile", PROFILES)
def test_only_this_machine_reaches_what_is_published(profile: str) -> None:
    published = [port for body in services(profile).values() for port in body.get("ports", [])]

    assert 3 == len(published)
    assert [] == [port for port in published if not port.startswith("127.0.0.1:")]


def test_only_the_gateway_shares_a_network_with_redis() -> None:
    project = load(in_force("gpu"))
    beside = {name for name, body in project.services.items() if "store" in body.get("networks", {})}

    assert {"redis", "gateway"} == beside
    assert project.networks["store"]["internal"]


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_waited_for_is_there_and_has_a_health_check(profile: str) -> None:
    started = services(profile)
    waited = {other: how for body in started.values() for other, how in body.get("depends_on", {}).items()}

    assert waited.keys() <= started.keys()
    assert {"service_healthy"} == {how["condition"] for how in waited.values()}
    assert [] == [name for name, body in started.items() if "start_period" not in body.get("healthcheck", {})]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_volume_that_is_used_is_declared(profile: str) -> None:
    project = load(in_force(profile))
    used = {volume.split(":")[0] for body in project.services.values() for volume in body.get("volumes", [])}
    folders = {source for source in used if source.startswith(".")}

    assert used - folders <= project.volumes.keys()
    assert [] == [source for source in folders if not (ROOT / source).is_dir()]


@pytest.mark.parametrize("profile", [*GPU_PROFILES, "cpu"])
def test_every_expert_of_the_configuration_has_a_server_that_knows_its_model(profile: str) -> None:
    reached = {alias: body for name, body in services(profile).items() for alias in names_of(name, body)}
    served = {}
    for expert in configuration(profile).experts:
        assert expert.replicas[0].base_url.host is not None
        command = reached[expert.replicas[0].base_url.host]["command"]
        adapters = [word.partition("=")[0] for word in command if "=/opt/pocket/" in word and not word.startswith("--")]
        served[expert.name] = [option(command, "--served-model-name"), *adapters]
        assert expert.context_window == int(option(command, "--max-model-len"))

    assert [] == [name for name, known in served.items() if name not in known]


@pytest.mark.parametrize("profile", GPU_PROFILES)
def test_every_server_is_an_expert(profile: str) -> None:
    commands = [body["command"] for body in services(profile).values() if body["image"].startswith("vllm/")]

    names = sorted(expert.name for expert in configuration(profile).experts)
    assert names == sorted(option(command, "--served-model-name") for command in commands)


@pytest.mark.parametrize("profile", GPU_PROFILES)
def test_servers_that_share_a_gpu_start_one_after_the_other(profile: str) -> None:
    started = services(profile)
    chains: dict[str, list[str]] = {}
    for name, body in started.items():
        if body["image"].startswith("vllm/"):
            chains.setdefault(str(devices(body)), []).append(name)

    for names in chains.values():
        alone = [name for name in names if not set(started[name].get("depends_on", {})) & set(names)]
        followed = [other for name in names for other in started[name].get("depends_on", {})]
        assert 1 == len(alone)
        assert len(followed) == len(set(followed)) == len(names) - 1


def devices(body: dict[str, Any]) -> tuple[str, ...]:
    [device] = body["deploy"]["resources"]["reservations"]["devices"]
    return tuple(device["device_ids"])
