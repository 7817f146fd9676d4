"""The manifests are what Kubernetes' own schemas want, and fit each other, the compose file and the image."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.configuration import load_config
from gateway.settings import Settings
from tests.deploy.compose_file import ROOT, in_force, load

MANIFESTS = [*sorted((ROOT / "deploy/kubernetes").glob("*.yaml")), ROOT / "deploy/ray/cluster.yaml"]
VERSIONS = ["1.30", "1.37"]


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def found(kind: str, name: str = "consilium") -> dict[str, Any]:
    every = (document for path in MANIFESTS for document in documents(path))
    return next(each for each in every if (each["kind"], each["metadata"]["name"]) == (kind, name))


def pod(template: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": template["spec"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_valid_against_kubernetes_schemas(path: Path, version: str) -> None:
    for document in documents(path):
        if document["kind"] == "RayCluster":
            groups = [document["spec"]["headGroupSpec"], *document["spec"]["workerGroupSpecs"]]
            for group in groups:
                kubernetes_validate.validate(pod(group["template"]), version, strict=True)
        else:
            kubernetes_validate.validate(document, version, strict=True)


def test_the_configuration_is_one_that_a_gateway_takes(tmp_path: Path) -> None:
    path = tmp_path / "consilium.yaml"
    path.write_text(found("ConfigMap")["data"]["consilium.yaml"])

    assert ["general", "math"] == [expert.name for expert in load_config(path).experts]


def test_the_gateway_gets_variables_that_exist() -> None:
    [container] = found("Deployment")["spec"]["template"]["spec"]["containers"]
    names = {variable["name"].removeprefix("CONSILIUM_").lower() for variable in container["env"]}

    assert {"vllm_key"} == names - Settings.model_fields.keys()


def test_no_variable_of_kubernetes_takes_the_place_of_a_setting() -> None:
    """A Service named consilium makes CONSILIUM_PORT=tcp://... in every pod, unless the pod says no."""
    assert "port" in Settings.model_fields
    assert found("Deployment")["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_redis_and_the_images_are_the_ones_of_the_compose_file() -> None:
    composed = load(in_force("gpu")).services
    [gateway] = found("Deployment")["spec"]["template"]["spec"]["containers"]
    [redis] = found("StatefulSet", "consilium-redis")["spec"]["template"]["spec"]["containers"]

    assert composed["gateway"]["image"] == gateway["image"]
    assert (composed["redis"]["image"], composed["redis"]["command"]) == (redis["image"], redis["args"])


def test_the_ray_cluster_runs_the_ray_and_the_vllm_that_are_tested() -> None:
    pinned = re.search(r"^ray==(.+)$", (ROOT / "requirements/constraints.txt").read_text(), flags=re.MULTILINE)
    image = (ROOT / "deploy/ray/Dockerfile").read_text()
    assert pinned

    assert pinned[1] == found("RayCluster")["spec"]["rayVersion"]
    assert f"ray=={pinned[1]}\n" in image
    assert f"FROM vllm/vllm-openai:{in_force('gpu')['VLLM_TAG']}\n" in image


def test_selectors_find_the_pods_they_mean() -> None:
    labels = found("Deployment")["spec"]["template"]["metadata"]["labels"]
    selected = [
        found("Deployment")["spec"]["selector"]["matchLabels"],
        found("Service")["spec"]["selector"],
        found("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ]

    assert [] == [selector for selector in selected if not selector.items() <= labels.items()]
