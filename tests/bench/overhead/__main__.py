"""The gateway beside nothing, nginx and LiteLLM's proxy, in one run on one machine.

    python -m tests.bench.overhead [--seconds 3] [--only direct,named] [--tokens 100] [--json FILE]

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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil
import uvloop

from tests.bench.overhead.contenders import KEY, LITELLM, consilium, litellm, nginx, upstream
from tests.bench.overhead.load import Target
from tests.bench.overhead.rows import CLIENTS, Case, growth, row, stream_row
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with upstream(folder) as behind:
            for server, asked in groupby(chosen.only, lambda who: who if who in SERVERS else "consilium"):
                with SERVERS[server](folder, behind) as (port, pid):
                    for who in asked:
                        target = Target(port, PATH, ROLES[who], KEY)
                        await measure_one(who, target, psutil.Process(pid), chosen, found)


async def measure_one(
    who: str, target: Target, process: psutil.Process, chosen: argparse.Namespace, found: dict[str, Any]
) -> None:
    """Add the rows of one contender, and print each as it comes."""
    for tokens in chosen.tokens:
        for stream in chosen.stream:
            case = Case(tokens, stream, distinct=who != "repeated")
            found["rows"].append(await row(who, target, case, chosen.seconds, process))
            print(found["rows"][-1], flush=True)
    if chosen.paced and who in ("direct", "nginx", "named"):
        found["streams"].append(await stream_row(who, target, process))
        print(found["streams"][-1], flush=True)
    if chosen.memory and who == "named":
        found["memory"] = await growth(target, process, chosen.memory)


def versions() -> dict[str, str]:
    """Return what was measured, by name."""
    told = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip().rpartition("/")[2]
    ours = {name: version(name) for name in ("consilium", "uvicorn", "uvloop", "starlette", "aiohttp")}
    return {"python": platform.python_version(), "nginx": told, "litellm": LITELLM.rpartition("=")[2], **ours}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
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
