"""`consilium experts benchmark-fuser`: who fuses best, and whether fusing pays, on a running gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.ask import answered, reachable
from gateway.cli.learning import administrator
from gateway.cli.options import DEFAULT_URL, JsonOption, UrlOption
from gateway.cli.profile import NotMeasured, located, watched

KINDS = {
    "one_right": "one right",
    "majority_wrong": "many wrong",
    "majority_right": "many right",
    "all_wrong": "(none right)",
}
"""Kinds of panels as columns; the last does not count."""
console = Console()


def benchmark_fuser(
    data: Annotated[
        str, typer.Option(help="builtin:pocket, a .jsonl, .csv or .parquet file, or an uploaded file's id.")
    ] = "builtin:pocket",
    experts: Annotated[
        str, typer.Option(help="Who is tried as fuser, separated by commas; without it everybody.")
    ] = "",
    panelists: Annotated[
        str, typer.Option(help="Who answers, separated by commas; without it whom routing asks.")
    ] = "",
    questions: Annotated[int, typer.Option(help="Most questions, evenly over domains.", min=1)] = 100,
    concurrency: Annotated[int, typer.Option(help="Calls under way at a time.", min=1, max=256)] = 8,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer.", min=1)] = None,
    run_code: Annotated[
        bool, typer.Option("--run-code", help="Run the code experts write, on the gateway's machine.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Examine experts as fusers on panels of real answers; the best of each domain writes from then on."""
    body: dict[str, Any] = {
        "data": located(data),
        "experts": _names(experts),
        "panelists": _names(panelists),
        "questions": questions,
        "concurrency": concurrency,
        "max_tokens": max_tokens,
        "run_code": run_code,
    }
    with administrator(url) as client, reachable(url):
        ended = watched(client, answered(client.post("/admin/experts/benchmark-fuser", json=body)))
    if ended["state"] != "done":
        raise NotMeasured(ended["error"] or f"The job {ended['id']} was cancelled; start it again to go on.")
    if as_json:
        typer.echo(json.dumps(ended["result"], indent=2))
    else:
        show(ended["result"])


def show(result: Mapping[str, Any]) -> None:
    """Print what was found: a line for each fuser, the best first."""
    table = Table("fuser", "panels", "right", "95 %", *KINDS.values())
    for name, found in sorted(result["fusers"].items(), key=lambda item: -item[1]["accuracy"]):
        low, high = found["ci95"]
        kinds = [f"{share['accuracy']:.2f}" if (share := found["kinds"].get(kind)) else "" for kind in KINDS]
        table.add_row(name, str(found["count"]), f"{found['accuracy']:.2f}", f"{low:.2f} to {high:.2f}", *kinds)
    console.print(table)
    for line in remarks(result):
        console.print(line)


def remarks(result: Mapping[str, Any]) -> list[str]:
    """Return what follows from the figures, and what should be known about them, a sentence each."""
    found = ["Best by domain: " + ", ".join(f"{domain}: {name}" for domain, name in result["best"].items()) + "."]
    advice = result["advice"]
    if advice is None:
        found.append("Too few councils answered to say whether fusing pays.")
    else:
        found += [_compared("councils", advice)]
        if advice["contested"] is not None:
            found += [_compared("councils in which nobody outweighs the others", advice["contested"])]
        found.append(f"Where answers cannot be compared, this advises {advice['open']}.")
    found += [f"Left out, {count} questions: {why}." for why, count in result["skipped"].items()]
    found += [f"Left out, {name}: too many calls failed. {why}" for name, why in result["left_out"].items()]
    if result["reused"]:
        found.append(f"{result['reused']} answers are from the run before, which was broken off.")
    return found


def _compared(what: str, found: Mapping[str, Any]) -> str:
    low, high = found["gain_over_single"]["ci95"]
    return (
        f"On {found['councils']} {what}: fused {found['synthesize']:.3f}, vote {found['vote']:.3f}, the heaviest "
        f"answer {found['single']:.3f}; fusing gains {low:+.3f} to {high:+.3f} over it."
    )


def _names(given: str) -> list[str]:
    return [name.strip() for name in given.split(",") if name.strip()]
