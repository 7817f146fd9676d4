"""The gateway beside nothing, nginx and LiteLLM's proxy, in one run on one machine.

    python -m tests.bench.overhead [--seconds 1] [--rounds 3] [--only direct,named] [--tokens 100] [--json FILE]

Prompts of several lengths, whole and streamed: one client, arrivals in the open at a stated rate, 32 clients; then
256 streams of 100 tokens a second. Client, upstream and contender share the machine's cores, as stated above the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import uvloop

from tests.bench.overhead.contenders import KEY, LITELLM, consilium, litellm, nginx, upstream
from tests.bench.overhead.load import Target
from tests.bench.overhead.rows import CLIENTS, Case, Row, growth, middle, row, stream_row
from tests.bench.overhead.verdict import table, verdicts
from tests.bench.speed.quiet import state

PATH = "/v1/chat/completions"
TOKENS = (30, 100, 1000, 8000)
ROLES = {"direct": "plain", "nginx": "plain", "litellm": "plain", "named": "plain", "auto": "auto", "repeated": "auto"}
"""Which model each contender is asked for; the last three are this gateway."""


@contextmanager
def nothing(_: Path, behind: int) -> Iterator[tuple[int, int]]:
    """Ask the upstream itself."""
    yield behind, os.getpid()


Opened = Callable[[Path, int], AbstractContextManager[tuple[int, int]]]
SERVERS: dict[str, Opened] = {"direct": nothing, "nginx": nginx, "litellm": litellm, "consilium": consilium}
"""What runs each contender; yields its port and process id."""


async def measure(chosen: argparse.Namespace, found: dict[str, Any]) -> None:
    """Add every row asked for."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        behind = stack.enter_context(upstream(folder))
        needed = {who: who if who in SERVERS else "consilium" for who in chosen.only}
        running = {server: stack.enter_context(SERVERS[server](folder, behind)) for server in set(needed.values())}
        asked = {who: (running[server], ROLES[who]) for who, server in needed.items()}
        targets = {
            who: (Target(port, PATH, model, KEY), psutil.Process(pid)) for who, ((port, pid), model) in asked.items()
        }
        for tokens in chosen.tokens:
            for stream in chosen.stream:
                found["rows"] += await in_turn(targets, tokens, stream, chosen)
        for who in ("direct", "nginx", "named"):
            if chosen.paced and who in targets:
                found["streams"].append(await stream_row(who, *targets[who]))
        if chosen.memory and "named" in targets:
            found["memory"] = await growth(*targets["named"], chosen.memory)


async def in_turn(
    targets: Mapping[str, tuple[Target, psutil.Process]], tokens: int, stream: bool, chosen: argparse.Namespace
) -> list[Row]:
    """Return a row for each contender: medians over rounds in which all have their turn, so that what else the machine
    does meets them alike.
    """
    rounds: dict[str, list[Row]] = {who: [] for who in targets}
    for number in range(chosen.rounds):
        seed = 10 * (2 * tokens + stream) + number  # nothing asked before is asked again
        for who, (target, process) in targets.items():
            case = Case(tokens, stream, distinct=who != "repeated", seed=seed)
            rounds[who].append(await row(who, target, case, chosen.seconds, process))
            print(rounds[who][-1], flush=True)
    return [middle(each) for each in rounds.values()]


def versions() -> dict[str, str]:
    """Return what was measured, by name."""
    told = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip().rpartition("/")[2]
    ours = {name: version(name) for name in ("consilium", "uvicorn", "uvloop", "starlette", "aiohttp")}
    return {"python": platform.python_version(), "nginx": told, "litellm": LITELLM.rpartition("=")[2], **ours}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(ROLES))
    parser.add_argument("--tokens", type=lambda text: [int(each) for each in text.split(",")], default=list(TOKENS))
    parser.add_argument("--kind", choices=("whole", "streamed", "both"), default="both")
    parser.add_argument("--paced", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--memory", type=float, default=20.0, help="seconds under full load; 0 leaves it out")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    chosen.stream = {"whole": [False], "streamed": [True], "both": [False, True]}[chosen.kind]
    return chosen


def main() -> None:
    """Measure, print, and keep."""
    chosen = arguments()
    where = f"{os.cpu_count()} cores, {platform.machine()}, one worker each, {CLIENTS} clients {state()}"
    print(where, flush=True)
    found: dict[str, Any] = {"rows": [], "streams": [], "memory": {}}
    try:
        uvloop.run(measure(chosen, found))
    finally:
        report(where, chosen, found)


def report(where: str, chosen: argparse.Namespace, found: dict[str, Any]) -> None:
    """Print what there is, and keep it."""
    print(table(found["rows"], found["streams"]))
    print("\n".join(verdicts(found)))
    if chosen.json:
        plain = {key: [asdict(each) for each in found[key]] for key in ("rows", "streams")}
        kept = {"where": where, "versions": versions(), **plain, "memory": found["memory"]}
        chosen.json.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
