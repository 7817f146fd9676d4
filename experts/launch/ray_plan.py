"""Which servers a list of experts needs on a Ray cluster, and how their reports read. Pure: values in, values out.

A server is one actor. Its name says what it runs: another model, other arguments or other adapters are another
actor, so gateways that agree share servers and gateways that do not yet disturb nobody.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experts.config import ExpertConfig
from experts.launch.plan import base_of
from experts.registry import Replica


@dataclass(frozen=True, slots=True)
class ClusterServer:
    """One vLLM server somewhere on the cluster.

    `gpus` is None when the file does not say: one where the cluster has GPUs, none where it has not. `configs` is
    what the node plans the server from: the base expert and those that ride on it, as JSON.
    """

    name: str
    experts: tuple[str, ...]
    configs: tuple[Mapping[str, Any], ...]
    root: str
    gpus: int | None
    cpus: float
    resources: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """What a server says of itself; `base_url` is empty until it listens."""

    state: str
    base_url: str = ""
    api_key: str = ""
    failure: str = ""


def cluster_servers(experts: Sequence[ExpertConfig], root: Path) -> tuple[ClusterServer, ...]:
    """Return the servers to run, in the configuration's order; `launch.replicas` of each.

    Raises:
        ConfigError: an adapter's base is no expert, or an adapter itself.
    """
    riders = _riders(experts)
    found: list[ClusterServer] = []
    for expert in experts:
        if expert.launch is None:
            continue
        launch = expert.launch
        here = (_bare(expert), *(_bare(rider) for rider in riders.get(expert.name, ())))
        digest = hashlib.sha256(json.dumps([here, str(root)], sort_keys=True).encode()).hexdigest()[:12]
        found.extend(
            ClusterServer(
                name=f"{expert.name}/{number}/{digest}",
                experts=tuple(config["name"] for config in here),
                configs=here,
                root=str(root),
                gpus=launch.gpus if "gpus" in launch.model_fields_set else None,
                cpus=launch.cpus,
                resources=dict(launch.resources),
            )
            for number in range(launch.replicas)
        )
    return tuple(found)


def replicas_in(reports: Iterable[Report]) -> tuple[Replica, ...]:
    """Return where an expert answers: each of its servers that is ready."""
    return tuple(Replica(report.base_url, report.api_key) for report in reports if report.state == "ready")


def state_in(reports: Sequence[Report]) -> str:
    """Return an expert's state: ready with one server that is, else what the furthest of them is doing."""
    order = ("ready", "starting", "restarting", "failed")
    states = {report.state for report in reports}
    return next((state for state in order if state in states), "starting")


def failure_in(reports: Sequence[Report]) -> str:
    """Return why an expert does not answer: the first reason that one of its servers gives."""
    return next((report.failure for report in reports if report.failure), "")


def has_room(needs: Mapping[str, float], free: Mapping[str, float]) -> bool:
    """Tell whether a cluster with so much free may hold a server; what is free may be spread over several nodes."""
    return all(free.get(name, 0) >= amount for name, amount in needs.items())


def waits_for(needs: Mapping[str, float], free: Mapping[str, float]) -> str:
    """Return what a server waits for that Ray has not placed, as a sentence, beside what the whole cluster has free."""
    return f"waits for a node: {_listed(needs)} on one node; free now: {_listed(_countable(free)) or 'nothing'}"


def _listed(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items() if amount)


def _countable(free: Mapping[str, float]) -> dict[str, float]:
    """Return what servers compete for: no memory, and none of the labels that Ray gives every node."""
    return {name: free[name] for name in sorted(free) if "memory" not in name and "node:" not in name}


def _riders(experts: Sequence[ExpertConfig]) -> dict[str, list[ExpertConfig]]:
    by_name = {expert.name: expert for expert in experts}
    riders: dict[str, list[ExpertConfig]] = {}
    for expert in experts:
        if expert.adapter is not None and base_of(expert, expert.adapter, by_name).launch is not None:
            riders.setdefault(expert.adapter.base, []).append(expert)
    return riders


def _bare(expert: ExpertConfig) -> dict[str, Any]:
    """Return what of an expert its server depends on; a new description is no new server."""
    fields = {"name", "backend", "model", "launch", "adapter", "context_window"}
    kept: dict[str, Any] = expert.model_dump(mode="json", include=fields)
    if expert.launch is not None:
        kept["launch"]["replicas"] = 1
    return kept
