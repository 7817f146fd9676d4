"""`consilium doctor`: what is installed, what is wrong, how to mend it; `--fix` installs what is missing."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from experts.launch import Check, all_checks, create_environment, find_environment
from gateway.cli.options import HostOption, JsonOption, PortOption, settings_with

console = Console()
FixOption = Annotated[bool, typer.Option("--fix", help="Install the vLLM environment for this machine's CPU.")]


def doctor(
    fix: FixOption = False, host: HostOption = None, port: PortOption = None, as_json: JsonOption = False
) -> None:
    """Look at this machine; exit code 1 when something needs mending, or with --fix when mending failed."""
    settings = settings_with(host=host, port=port)
    if fix:
        install_vllm()
    checks = all_checks(settings.host, settings.port)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(check) for check in checks], indent=2))
    else:
        show(checks)
    if not fix and not all(check.ok for check in checks):
        raise typer.Exit(1)


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
    console.print(table)
