"""`consilium experts profile`: measure an expert of a running gateway, with a bar; ctrl-C cancels, again goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from experts.errors import ServiceError
from gateway.cli.ask import answered, reachable
from gateway.cli.learning import administrator
from gateway.cli.options import DEFAULT_URL, JsonOption, UrlOption
from gateway.job import ENDED

POLL_SECONDS = 0.5
LINE_EVERY = 0.1
"""Share of the questions after which another line is written where there is no terminal for a bar."""
console = Console()
told = Console(stderr=True)


class NotMeasured(ServiceError):
    """The profiling failed; the job's own sentence is the message."""


def profile(
    name: Annotated[str, typer.Argument(help="The expert.")],
    questions: Annotated[
        str, typer.Option(help="builtin:pocket, a .jsonl, .csv or .parquet file, or an uploaded file's id.")
    ] = "builtin:pocket",
    per_domain: Annotated[int | None, typer.Option(help="Most questions a domain.", min=1)] = None,
    limit: Annotated[int | None, typer.Option(help="Most questions in all.", min=1)] = None,
    concurrency: Annotated[int, typer.Option(help="Questions under way at a time.", min=1, max=256)] = 8,
    judge: Annotated[str | None, typer.Option(help="The expert that marks open questions.")] = None,
    thinking: Annotated[
        bool | None, typer.Option("--thinking/--no-thinking", help="Ask with thinking on or off.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer.", min=1)] = None,
    run_code: Annotated[
        bool, typer.Option("--run-code", help="Run the code it writes, on the gateway's machine.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Measure an expert on questions with known answers; routing uses what was found at once."""
    body: dict[str, Any] = {
        "questions": located(questions),
        "per_domain": per_domain,
        "limit": limit,
        "concurrency": concurrency,
        "judge": judge,
        "thinking": thinking,
        "max_tokens": max_tokens,
        "run_code": run_code,
    }
    with administrator(url) as client, reachable(url):
        job = answered(client.post(f"/admin/experts/{quote(name, safe='')}/profile", json=body))
        ended = watched(client, job)
    if ended["state"] != "done":
        raise NotMeasured(ended["error"] or f"The job {ended['id']} was cancelled; start it again to go on.")
    if as_json:
        typer.echo(json.dumps(ended["result"], indent=2))
    else:
        show(name, ended["result"])


def located(questions: str) -> str:
    """Return a file of this machine by its full path, anything else as it is."""
    path = Path(questions).expanduser()
    return str(path.resolve()) if path.is_file() else questions


def watched(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """Show how far a job is until it has ended, and return it; a KeyboardInterrupt cancels it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=told, disable=not told.is_terminal) as bar:
            task = bar.add_task(f"measuring {job['subject']}", total=job["total"] or None)
            lines = 0
            while job["state"] not in ENDED:
                time.sleep(POLL_SECONDS)
                job = answered(client.get(f"/admin/jobs/{job['id']}"))
                bar.update(task, completed=job["done"], total=job["total"] or None)
                share = job["done"] / max(1, job["total"])
                if not told.is_terminal and share >= (lines + 1) * LINE_EVERY:
                    lines = int(share / LINE_EVERY)
                    told.print(f"{job['subject']}: {job['done']} of {job['total']}")
    except KeyboardInterrupt:
        client.post(f"/admin/jobs/{job['id']}/cancel")
        told.print(f"Cancelled {job['id']}. What was answered is kept for a week: the same command goes on from there.")
        raise
    return job


def show(name: str, result: Mapping[str, Any]) -> None:
    """Print what was found."""
    table = Table("domain", "questions", "right", "95 %", "expected")
    for domain, skill in result["skills"].items():
        low, high = result["ci95"][domain]
        right = f"{skill['accuracy']:.2f}"
        table.add_row(
            domain, str(skill["count"]), right, f"{low:.2f} to {high:.2f}", f"{result['expected'][domain]:.2f}"
        )
    console.print(table)
    whole = result["overall"]
    parts = [f"{name}: {whole['accuracy']:.3f} of {whole['count']} questions"]
    if result["output_tokens"] is not None:
        parts.append(f"{result['output_tokens']:.0f} tokens an answer")
    if result["latency_ms"] is not None:
        parts.append(f"{result['latency_ms']:.0f} ms")
    if result["cost_usd_per_question"] is not None:
        parts.append(f"{result['cost_usd_per_question']:.2g} USD each")
    console.print(", ".join(parts) + ".")
    for line in remarks(result):
        console.print(line)


def remarks(result: Mapping[str, Any]) -> list[str]:
    """Return what should be known about the figures, a sentence each."""
    found = [f"Left out, {count} questions: {why}." for why, count in result["skipped"].items()]
    if result["failed"]:
        listed = ", ".join(f"{count} {what}" for what, count in result["failed"].items())
        found.append(f"Not counted, because the call failed: {listed}.")
    if result["cut_off"]:
        found.append(f"{result['cut_off']} answers were cut off; --max-tokens allows longer ones.")
    if result["reused"]:
        found.append(f"{result['reused']} answers are from the run before, which was broken off.")
    if result["unknown_domains"]:
        listed = ", ".join(result["unknown_domains"])
        found.append(f"Routing never says of a question that it is about {listed}: kept, and not used.")
    return found
