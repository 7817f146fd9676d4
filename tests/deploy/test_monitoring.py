"""The dashboard and the alerts ask for metrics that exist, with labels that those have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from gateway.metrics import ExpertLoad, Metrics
from tests.deploy.compose_file import ROOT, in_force, load

VLLM = {
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:generation_tokens_total",
}
"""Of vLLM 0.32; tests/integration/test_topology.py looks for them in a real one."""
NOT_LABELS = {"le", "instance", "job"}


def expressions() -> Iterator[str]:
    board = json.loads((ROOT / "deploy/grafana/dashboards/consilium.json").read_text())
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def known() -> dict[str, set[str]]:
    """Return every series name that a gateway gives, and its labels."""
    metrics = Metrics(lambda: [ExpertLoad("math", 0, 0, True, {"closed": 1})], lambda: {"texts": 1})
    series: dict[str, set[str]] = {}
    for collector in vars(metrics).values():
        labels = set(getattr(collector, "_labelnames", ()))
        for family in collector.describe() if hasattr(collector, "describe") else ():
            endings = ("_bucket", "_count", "_sum") if family.type == "histogram" else ("_total", "")
            series |= {f"{family.name}{ending}": labels for ending in endings}
    for family in metrics.registry.collect():
        for sample in family.samples:
            series[sample.name] = series.get(sample.name, set()) | set(sample.labels)
    return series


def test_every_metric_exists() -> None:
    asked = {name for text in expressions() for name in re.findall(r"\bconsilium_\w+", text)}

    assert len(asked) > 15
    assert set() == asked - known().keys()


def test_every_other_metric_is_vllms_or_prometheus_own() -> None:
    words = {word for text in expressions() for word in re.findall(r"\bvllm:\w+", text)}

    assert VLLM == words


def test_every_label_that_is_grouped_by_exists() -> None:
    series = known()
    wrong = []
    for text in expressions():
        grouped = {label for group in re.findall(r"by \(([^)]*)\)", text) for label in re.split(r",\s*", group)}
        labels: set[str] = set().union(*(series[name] for name in re.findall(r"\bconsilium_\w+", text)))
        if "consilium_" in text and (extra := grouped - labels - NOT_LABELS):
            wrong.append((text, extra))

    assert [] == wrong


def test_prometheus_asks_every_server_by_the_name_it_has() -> None:
    scraped: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    asked = {name for job in scraped["scrape_configs"] for sd in job["dns_sd_configs"] for name in sd["names"]}
    there = set()
    for profile in ("gpu", "gpu-80gb", "gpu-8x80gb", "cpu", "dev"):
        bodies = load(in_force(profile)).services
        aliases = (network for body in bodies.values() for network in body.get("networks", {}).values())
        there |= {alias for network in aliases for alias in (network or {}).get("aliases", [])}

    assert there | {"pocket"} == asked


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on the PATH (apt-get install prometheus)")
@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "deploy/prometheus/prometheus.yml"),
        ("check", "rules", "deploy/prometheus/alerts.yml"),
        ("test", "rules", "tests/deploy/alerts.yaml"),
    ],
    ids=["configuration", "rules", "when they ring"],
)
def test_prometheus_own_tool_takes_the_files(words: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *words], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert 0 == done.returncode, done.stdout + done.stderr
