"""Build the desk from what a gateway has, and say how experts stand for a batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from pathlib import Path

from experts.admission import background_places
from experts.config import ExpertConfig
from experts.errors import ConfigError
from experts.launch.state import state_folder
from experts.registry import Registry
from experts.store import Store, StoreError
from experts.types import ExpertName
from gateway.batches.answering import Answerer
from gateway.batches.desk import AT_ONCE, Desk
from gateway.batches.run import Floor
from gateway.batches.shelf import Shelf
from gateway.configuration import GatewayConfig
from gateway.jobs import Jobs
from gateway.limits import Gate
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.settings import Settings

FOLDER = "files"
FIRST_PROBE_SECONDS = 5.0
STARTING_SECONDS = 900.0
LOOK_SECONDS = 0.1
State = Callable[[ExpertName], str]


def opened_desk(
    settings: Settings,
    store: Store,
    jobs: Jobs,
    pipeline: Pipeline,
    metrics: Metrics,
    *,
    gate: Gate,
    state: State,
    config: GatewayConfig | None = None,
) -> Desk:
    """Return the desk; what it is given closes it, and the jobs stop what it runs.

    Args:
        settings: limits.
        store: where documents are.
        jobs: has batches run.
        pipeline: answers lines.
        metrics: counts them.
        gate: says what the batch's key may use.
        state: an expert's state in a word.
        config: the whole file; without it all experts are taken to be awake.
    """
    registry, at_once = pipeline.registry, groups_at_once(config)
    return Desk(
        store,
        Shelf(store, files_folder),
        jobs,
        answerer=lambda key: Answerer(pipeline, metrics, key, gate=gate),
        floor=lambda: floor_of(registry, state, at_once),
        ready=lambda: settled(registry, state),
        longest_line=settings.max_body_bytes,
        at_once=AT_ONCE if at_once is None else 1,  # two batches at a time would wake every expert twice
        counted=lambda outcome: metrics.batch_lines.labels(outcome).inc(),
    )


def files_folder() -> Path:
    """Return where clients' files are.

    Raises:
        StoreError: there is no state folder.
    """
    try:
        return state_folder() / FOLDER
    except ConfigError as error:
        raise StoreError(f"Files cannot be kept: {error}.") from error


def floor_of(registry: Registry, state: State, at_once: int | None) -> Floor:
    """Return how experts stand now."""
    experts = {name: expert.config for name, expert in registry.snapshot.items()}
    return Floor(
        places={name: background_places(config.limits.max_in_flight) for name, config in experts.items()},
        servers={name: server_of(config) for name, config in experts.items()},
        resident={name for name in experts if state(name) == "ready"},
        groups_at_once=at_once,
    )


def groups_at_once(config: GatewayConfig | None) -> int | None:
    """Return how many servers a batch asks at the same time: those that can be awake; None where all are."""
    if config is None or not config.residency.bounded:
        return None
    return config.residency.max_resident or 1


def server_of(config: ExpertConfig) -> str:
    """Return the name of the server an expert's answers come from: its own, or the one its adapter rides on."""
    return config.name if config.adapter is None else config.adapter.base


async def settled(registry: Registry, state: State, names: Collection[ExpertName] | None = None) -> None:
    """Wait until it is known who can answer: everybody was probed once, and nobody is starting any more.

    `names` are those it is waited for; None means all there are.

    What does not come up in time is left to the routing, which knows who can serve.
    """
    begun = time.monotonic()
    while (waited := time.monotonic() - begun) < STARTING_SECONDS:
        states = {state(name) for name in registry.snapshot if names is None or name in names}
        if "starting" not in states and ("unreachable" not in states or waited > FIRST_PROBE_SECONDS):
            return
        await asyncio.sleep(LOOK_SECONDS)
