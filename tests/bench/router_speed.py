"""How fast the router is: encoder runtimes, decisions, memory, and PyPI's semantic-router in the same run.

    python -m tests.bench.router_speed [--prompts prompts.parquet] [--idle-check] [--only runtimes,ours,peer]

Everything is measured in a process of its own, one after the other. What we compare with but never depend on
goes into an environment of its own in the state folder, made on first use. The figures mean something on a
machine that does nothing else: each section says what others did meanwhile, and `--idle-check` refuses to
start beside them. `--prompts` compares accuracy on labelled prompts too (columns text, domain, split).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from router import default_taxonomy
from router.config import EncoderConfig
from router.encoder import model_folder
from tests.bench.speed.accuracy import Task, our_choices, own_task, prompt_tasks
from tests.bench.speed.environment import bench_python
from tests.bench.speed.quiet import QUIET, foreign_load, state
from tests.bench.speed.runtime import RUNTIMES
from tests.bench.speed.texts import texts_of
from tests.unit.router.chat_questions import QUESTIONS

ROOT = Path(__file__).parents[2]
REFERENCE = "torch float32"
SECTIONS = ("runtimes", "ours", "peer")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
PROCESSORS = 2
"""What the targets are meant for."""
console = Console(width=110)


def run(command: list[str], *, given: str = "", threads: int) -> Any:
    """Return the JSON that a measurement prints, made in a process with so many threads."""
    environment = {**os.environ, **OFFLINE, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, input=given, env=environment, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def nearest_accuracy(vectors: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Return how often a question's nearest other question is of its domain: what a runtime's vectors are worth."""
    labels = np.array([domain for domain, texts in QUESTIONS.items() for _ in texts])
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    return float((labels[cosines.argmax(axis=1)] == labels).mean())


def show_runtimes(python: Path, threads: int, repeats: int) -> None:
    """Measure every runtime and print the table."""
    title = f"Encoder runtimes, {threads} threads {state()}"
    columns = (
        "runtime",
        "start s",
        "60 tokens ms (cpu)",
        "200 tokens",
        "texts/s",
        "MiB",
        "cosine least",
        "mean",
        "1-NN",
    )
    table = Table(*columns, title=title)
    truth = None
    for kind in RUNTIMES:
        options = ["--threads", str(threads), "--repeats", str(repeats)]
        found = run([str(python), "-m", "tests.bench.speed.runtime", kind, *options], threads=threads)
        vectors = np.array(found["vectors"])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        truth = vectors if truth is None else truth
        cosines = (vectors * truth).sum(axis=1)
        speeds = [f"{found['start_seconds']:.1f}"]
        speeds += [f"{found[name][0]:.1f} ({found[name][1]:.1f})" for name in ("ms_60", "ms_200")]
        weight = (f"{found['texts_per_second']:.0f}", f"{found['memory_mib']:.0f}")
        quality = (f"{cosines.min():.5f}", f"{cosines.mean():.5f}", f"{nearest_accuracy(vectors):.3f}")
        table.add_row(kind, *speeds, *weight, *quality)
    console.print(table)


def show_ours(threads: int, repeats: int) -> dict[str, Any]:
    """Measure our decisions, print them against their targets, and return them."""
    before = state()
    options = ["--threads", str(threads), "--repeats", str(repeats)]
    found: dict[str, Any] = run([sys.executable, "-m", "tests.bench.speed.decisions", *options], threads=threads)
    table = Table("what", "measured", "target", title=f"Decisions, {found['classifier']} classifier {before}")
    experts = len(default_taxonomy().domains) + 1
    rows = (
        (f"60 tokens, {experts} experts, p50", f"{found['short'][0]:.1f} ms", "<= 8"),
        ("60 tokens, p99", f"{found['short'][1]:.1f} ms", "<= 20"),
        ("200 tokens, p50", f"{found['long'][0]:.1f} ms", "<= 20"),
        ("64 clients, 60 tokens, all new", f"{found['rate']:.0f}/s", ">= 250"),
        ("the same, processor time of each", f"{found['work_ms']:.1f} ms", f"<= {1000 * PROCESSORS / 250:.0f}"),
        ("asked before", f"{found['again']:.0f}/s", ">= 20000"),
        ("policy alone, 100 experts, p50", f"{found['policy_ms']:.3f} ms", "<= 0.3"),
        ("memory of the process", f"{found['memory_mib']:.0f} MiB", "<= 500 MB"),
        ("ready after", f"{found['start_seconds']:.1f} s", ""),
    )
    for row in rows:
        table.add_row(*row)
    console.print(table)
    return found


def ask_peer(python: Path, task: Task, threads: int, timed: int) -> Any:
    """Return what the peer makes of a task, timed on `timed` texts."""
    given = {
        "model": model_folder(EncoderConfig().model),
        "threads": threads,
        "routes": task.routes,
        "queries": task.texts,
        "short": texts_of(60, timed) if timed else [],
        "long": texts_of(200, timed // 2) if timed else [],
    }
    script = str(ROOT / "tests" / "bench" / "speed" / "peer.py")
    return run([str(python), "-P", script], given=json.dumps(given), threads=threads)


def show_peer(python: Path, threads: int, repeats: int, tasks: list[Task], ours: dict[str, Any]) -> None:
    """Measure the peer and print both side by side."""
    before = state()
    first = ask_peer(python, tasks[0], threads, repeats)
    title = f"semantic-router {first['version']} {before}"
    table = Table("what", "ours", "semantic-router", title=title)
    for name, key in (("60 tokens", "short"), ("200 tokens", "long")):
        for place, percentile in enumerate(("p50", "p99")):
            table.add_row(f"{name}, {percentile}", f"{ours[key][place]:.1f} ms", f"{first[key][place]:.1f} ms")
    table.add_row("60 tokens, all at once", f"{ours['rate']:.0f}/s", f"{first['rate']:.0f}/s")
    for task in tasks:
        theirs = first if task is tasks[0] else ask_peer(python, task, threads, timed=0)
        mine = asyncio.run(our_choices(task))
        row = f"accuracy, {task.name}, n={len(task.texts)}, ours: {task.classifier}"
        table.add_row(row, f"{task.share_right(mine):.3f}", f"{task.share_right(theirs['chosen']):.3f}")
    console.print(table)


def main() -> None:
    """Run the benchmark and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=Path, help="labelled prompts, to compare accuracy on")
    parser.add_argument("--splits", default="dev,ood_dev", help="splits of them to judge")
    parser.add_argument("--most", type=int, default=1000, help="prompts judged of each split")
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}; peer needs ours")
    parser.add_argument("--threads", type=int, default=EncoderConfig().threads)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--idle-check", action="store_true", help="stop when others use this machine")
    options = parser.parse_args()
    if options.idle_check and (busy := foreign_load(3)) > QUIET:
        raise SystemExit(f"Others use {busy:.2f} processors here: wait, or leave out --idle-check.")
    sections = set(options.only.split(","))
    if "runtimes" in sections:
        show_runtimes(bench_python(), options.threads, options.repeats // 2)
    ours = show_ours(options.threads, options.repeats) if sections & {"ours", "peer"} else {}
    if "peer" in sections:
        splits = options.splits.split(",")
        tasks = [own_task(), *(prompt_tasks(options.prompts, splits, options.most) if options.prompts else [])]
        show_peer(bench_python(), options.threads, options.repeats, tasks, ours)


if __name__ == "__main__":
    main()
