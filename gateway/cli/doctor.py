"""`consilium doctor`: what is installed, what is wrong, how to mend it; where servers would run; `--fix` installs."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from experts.launch import Check, all_checks, create_environment, find_environment
from experts.launch.survey import Survey, survey, thought_up
from gateway.cli.options import HostOption, JsonOption, PortOption, configured, settings_with
from gateway.settings import Settings

console = Console()
FixOption = Annotated[bool, typer.Option("--fix", help="Install the vLLM environment for this machine's CPU.")]
PlanOption = Annotated[str | None, typer.Option("--config", "-c", help="Show where this file's servers would run.")]
GpusOption = Annotated[str | None, typer.Option(help="Plan for other GPUs than this machine's: 2x24, or 1x80,2x24.")]


def doctor(
    fix: FixOption = False,
    config: PlanOption = None,
    gpus: GpusOption = None,
    host: HostOption = None,
    port: PortOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at this machine; exit code 1 when something needs mending, or with --fix when mending failed.

    With --config, show which server goes on which GPU and what is left there; with --gpus besides, nothing but that.
    """
    settings = settings_with(host=host, port=port, config=config)
    if fix:
        install_vllm()
    plan = planned(settings, gpus) if config or gpus else None
    checks = () if gpus else all_checks(settings.host, settings.port)
    if as_json:
        typer.echo(json.dumps(as_data(checks, plan), indent=2))
    else:
        show(checks)
        show_plan(plan)
    if not fix and not all(check.ok for check in checks):
        raise typer.Exit(1)


def planned(settings: Settings, gpus: str | None) -> Survey:
    """Return where the configured servers would run.

    Raises:
        ConfigError: the file is wrong, or they do not fit; the message has the numbers.
    """
    read, root = configured(settings)
    devices = None if gpus is None else thought_up(gpus)
    return survey(read.experts, root, devices, read.residency.max_resident)


def as_data(checks: tuple[Check, ...], plan: Survey | None) -> list[dict[str, Any]] | dict[str, Any]:
    """Return what is printed for machines: the checks, and beside them the plan when one was asked for."""
    found = [dataclasses.asdict(check) for check in checks]
    return found if plan is None else {"checks": found, "plan": dataclasses.asdict(plan)}


def install_vllm() -> None:
    """Create the CPU environment unless a vLLM is already found.

    Raises:
        LaunchError: it could not be installed; the message says why.
    """
    if (found := find_environment()) is not None:
        console.print(f"vLLM {found.version} ({found.kind}) is there already.")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("installing vLLM for this CPU", total=1.0)
        made = create_environment(lambda what, done: progress.update(task, description=what, completed=done))
    console.print(f"vLLM {made.version} is installed.")


def show(checks: tuple[Check, ...]) -> None:
    """Print the checks as a table, the mends below their findings."""
    table = Table("", "what", "found")
    for check in checks:
        mend = f"\n[yellow]{check.mend}[/yellow]" if check.mend else ""
        table.add_row("[green]ok[/green]" if check.ok else "[red]no[/red]", check.name, f"{check.detail}{mend}")
    if checks:
        console.print(table)


def show_plan(plan: Survey | None) -> None:
    """Print which server goes where, and what is left on each device."""
    if plan is None:
        return
    table = Table("expert", "adapters", "weights GiB", "cache GiB", "where", "GiB on each", title="servers")
    for server in plan.servers:
        weights = "not known" if server.weights_gib is None else f"{server.weights_gib:.2f}"
        where = ", ".join(server.devices)
        adapters = ", ".join(server.adapters)
        table.add_row(server.expert, adapters, weights, f"{server.kv_gib:.2f}", where, f"{server.each_gib:.2f}")
    console.print(table)
    console.print("left: " + ", ".join(f"{device} {gib:.1f} GiB" for device, gib in plan.left_gib.items()))
