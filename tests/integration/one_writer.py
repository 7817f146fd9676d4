"""Registers, changes and removes experts in a child that is killed at a random moment, again and again.

python -m tests.integration.one_writer STORE RUNS

Prints, for each run, what the child said before it died: "found NAME VALUE" for what it found at first, "begin NAME
VALUE" before a write, "done NAME VALUE" once it was acknowledged. The value is the record's description, - for none.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, cast

from experts.config import ExpertConfig
from experts.registry import Replica, static_replicas
from experts.store import SqliteStore
from gateway.catalogue import Catalogue, Consequences, Registrar
from gateway.upstreams import Upstreams

NAMES = [f"expert-{number}" for number in range(5)]
GONE = "-"
SHORTEST_SECONDS, LONGEST_SECONDS = 0.05, 0.6


class NothingRuns:
    """A runtime of other people's servers."""

    async def settle(self, experts: Sequence[ExpertConfig]) -> None:
        """Nothing to do."""

    def replicas(self, config: ExpertConfig) -> tuple[Replica, ...]:
        return static_replicas(config)

    def state(self, expert: str) -> str | None:
        return None

    def failure(self, expert: str) -> str:
        return ""


class NothingFollows:
    """Consequences without any."""

    def __init__(self) -> None:
        self.routing = self.settling = self

    async def caught_up(self, seconds: float) -> bool:
        return True

    async def probe(self, expert: object) -> dict[str, str]:
        return {}

    def in_flight(self, name: str) -> int:
        return 0

    def ask(self) -> None:
        """Nothing to do."""


async def write(path: str, out: int, run: int) -> None:
    """Write until killed."""
    store = SqliteStore(path)
    catalogue = Catalogue(store, {}, NothingRuns(), os.environ)
    await catalogue.load()
    registrar = Registrar(catalogue, cast(Consequences, NothingFollows()), Upstreams(), {})
    for name in NAMES:
        entry = catalogue.entries.get(name)
        os.write(out, f"found {name} {GONE if entry is None else entry.written['description']}\n".encode())
    draw = random.Random(run)
    for number in range(1_000_000):
        name, value = draw.choice(NAMES), f"{run}.{number}"
        there = name in catalogue.entries
        if there and draw.random() < 0.3:
            value = GONE
        os.write(out, f"begin {name} {value}\n".encode())
        record: dict[str, Any] = {"name": name, "description": value, "tags": [value] * draw.randrange(200)}
        if value == GONE:
            await registrar.remove(name, 0)
        elif there:
            await registrar.patch(name, record)
        else:
            await registrar.register({**record, "replicas": [{"base_url": "http://127.0.0.1:9/v1"}]})
        os.write(out, f"done {name} {value}\n".encode())


def main(path: str, runs: int) -> None:
    """Fork a child for each run, kill it, and print what it said."""
    draw = random.Random(0)
    for run in range(runs):
        read, out = os.pipe()
        if (child := os.fork()) == 0:
            asyncio.run(write(path, out, run))
        os.close(out)
        time.sleep(draw.uniform(SHORTEST_SECONDS, LONGEST_SECONDS))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(read) as said:
            print(f"run {run}\n{said.read()}", end="", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
