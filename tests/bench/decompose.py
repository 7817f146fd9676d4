"""Two-domain questions through the running gateway: every pocket expert alone, `auto`, and `decompose`.

    python -m tests.bench.decompose [--per-family 20] [--models generalist auto] [--planner EXPERT] [--json FILE]

Starts the pocket experts on vLLM and one expert more, a planner by rule (tests.bench.two_domains) on a real socket, and
puts the same questions to every model. `--planner` takes an expert of the pocket configuration instead.
Exits with 1 when `decompose` is right in less than 0.7 of the questions whose parts the experts were trained for, or a
single model in more than 0.3.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from experts.backends import make_client
from experts.pocket import PocketQuestion
from experts.profiling import wilson
from gateway.cli import exam
from gateway.cli.demo import until_ready
from tests.bench.two_domains import FAMILIES, planner, questions
from tests.fakes.expert import FakeExpert, serving
from tests.processes import ROOT, free_port, started, wait_for

SEED = 2026
RIGHT, SINGLE = 0.7, 0.3
DECOMPOSE = "decompose"
POCKET = ROOT / "gateway" / "examples" / "pocket.yaml"


def configuration(planner_url: str, planner_name: str | None) -> dict[str, Any]:
    """Return the pocket configuration with the planner by rule, or with one of its own experts planning."""
    config: dict[str, Any] = yaml.safe_load(POCKET.read_text())
    if planner_name is None:
        config["experts"].append({"name": "planner", "routed": False, "replicas": [{"base_url": planner_url}]})
    config["fusion"][DECOMPOSE] = {"planner": planner_name or "planner", "answer_line": False}
    return config


async def examine(
    client: httpx.AsyncClient, url: str, model: str, paper: Sequence[PocketQuestion]
) -> list[exam.Marked]:
    """Put every question to a model, or to `auto` with this strategy, many at a time."""
    if model != DECOMPOSE:
        return await exam.examine(client, url, model, paper)
    places = asyncio.Semaphore(exam.CONCURRENCY)

    async def one(question: PocketQuestion) -> exam.Marked:
        async with places:
            return await exam.put(client, url, "auto", question, {"fusion": DECOMPOSE})

    return await asyncio.gather(*(one(question) for question in paper))


def figures(marks: Sequence[exam.Marked]) -> dict[str, Any]:
    """Return the share of right answers with its 95 percent interval."""
    right = sum(mark.right for mark in marks)
    low, high = wilson(right, len(marks))
    return {"right": round(right / len(marks), 3), "ci95": [round(low, 3), round(high, 3)], "questions": len(marks)}


def table(marks: Sequence[exam.Marked]) -> dict[str, Any]:
    """Return one model's figures: over the families that were learnt, over all, and family by family."""
    learnt = {family.name for family in FAMILIES if family.learnt}
    rows = {"learnt": figures([mark for mark in marks if mark.question.task in learnt]), "all": figures(marks)}
    for family in FAMILIES:
        rows[family.name] = figures([mark for mark in marks if mark.question.task == family.name])
    return rows


async def measure(options: argparse.Namespace, url: str) -> dict[str, Any]:
    """Return every model's table."""
    paper = [q for family in FAMILIES for q in questions(family, options.per_family, options.seed)]
    found: dict[str, Any] = {}
    async with make_client() as client:
        await until_ready(client, url)
        for model in options.models:
            begun = time.monotonic()
            marks = await examine(client, url, model, paper)
            found[model] = table(marks)
            print(f"{model:12} {time.monotonic() - begun:6.1f} s  {json.dumps(found[model]['learnt'])}", flush=True)
            if model == DECOMPOSE and options.show_wrong:
                show(marks)
    return found


def show(marks: Sequence[exam.Marked]) -> None:
    """Print the questions that went wrong."""
    for mark in marks:
        if not mark.right:
            print(f"  {mark.question.prompt!r}: {mark.text!r}, not {mark.question.answer!r}")


def printed(found: dict[str, Any]) -> str:
    """Return the tables as one in Markdown, a row a family."""
    rows = [f"| | {' | '.join(f'`{model}`' for model in found)} |", f"|---{'|---' * len(found)}|"]
    for name in next(iter(found.values())):
        cells = (found[model][name] for model in found)
        rows.append(
            f"| {name} | "
            + " | ".join(f"{c['right']:.2f} [{c['ci95'][0]:.2f}, {c['ci95'][1]:.2f}]" for c in cells)
            + " |"
        )
    return "\n".join(rows)


def misses(found: dict[str, Any]) -> list[str]:
    """Return what was not reached, as sentences."""
    told = [
        f"{model} alone: {rows['learnt']['right']:.3f}"
        for model, rows in found.items()
        if model != DECOMPOSE and rows["learnt"]["right"] > SINGLE
    ]
    if DECOMPOSE in found and found[DECOMPOSE]["learnt"]["right"] < RIGHT:
        told.append(f"decompose: {found[DECOMPOSE]['learnt']['right']:.3f}")
    return told


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Serve the planner and the gateway, and measure."""
    fake = FakeExpert(models=("planner",), reply=planner)
    with tempfile.TemporaryDirectory() as folder:
        config, log, port = Path(folder) / "gateway.yaml", Path(folder) / "gateway.log", free_port()
        async with serving(fake):
            config.write_text(yaml.safe_dump(configuration(fake.url, options.planner)))
            with started("gateway", "serve", "-c", str(config), "--port", str(port), log=log) as process:
                url = f"http://127.0.0.1:{port}"
                await asyncio.to_thread(wait_for, f"{url}/health/liveness", process, log, seconds=300)
                return await measure(options, url)


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-family", type=int, default=20)
    parser.add_argument("--models", nargs="+", default=[*exam.SINGLE_MODELS, "auto", DECOMPOSE])
    parser.add_argument("--planner", help="an expert of the pocket configuration; default: the planner by rule")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--show-wrong", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = asyncio.run(run(options))
    print(printed(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    for miss in misses(found):
        print(f"missed: {miss}", file=sys.stderr)
    return 1 if misses(found) else 0


if __name__ == "__main__":
    sys.exit(main())
