"""`consilium experts`: the experts of a running gateway, listed and changed with the administrator's key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
import yaml
from rich.console import Console
from rich.table import Table

from experts.errors import ConfigError
from gateway.cli import fusers, profile
from gateway.cli.ask import answered, reachable
from gateway.cli.learning import administrator
from gateway.cli.options import DEFAULT_URL, JsonOption, UrlOption

NameArgument = Annotated[str, typer.Argument(help="The expert.")]
MORE_SECONDS = 60.0
YAML_SAYS_BOOLEAN = {True: "on", False: "off"}
"""YAML 1.1 reads the keys on and off of a thinking switch so."""
console = Console()
app = typer.Typer(no_args_is_help=True, help="List and change the experts of a running gateway.")
app.command("profile")(profile.profile)
app.command("benchmark-fuser")(fusers.benchmark_fuser)


@app.command("list")
def list_experts(url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """List every expert: where it comes from, how it is doing, what it is for."""
    found = asked(url, "GET", "/admin/experts")
    if as_json:
        typer.echo(json.dumps(found["data"], indent=2))
    else:
        show_experts(found["data"])


@app.command()
def show(name: NameArgument, url: UrlOption = DEFAULT_URL) -> None:
    """Print all that is known of an expert, as JSON: its record, state, load, and what was measured."""
    typer.echo(json.dumps(asked(url, "GET", path_of(name)), indent=2))


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="YAML or JSON: one record, a list, or a file with experts:.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check, ask the servers and route the examples.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Change those that are there already.")] = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Register the experts of a file; `${VAR}` in keys is left for the gateway to fill in."""
    answers = [added(url, record, dry_run, replace) for record in read_records(file)]
    if as_json:
        typer.echo(json.dumps(answers, indent=2))
    elif dry_run:
        show_rehearsals(answers)
    else:
        show_experts(answers)


@app.command()
def remove(
    name: NameArgument,
    drain_seconds: Annotated[float, typer.Option(help="Longest wait for its calls to end.")] = 30.0,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Take an expert out of routing, let its calls end, and remove it."""
    path = f"{path_of(name)}?drain_seconds={drain_seconds:g}"
    removed = asked(url, "DELETE", path, seconds=drain_seconds + MORE_SECONDS)
    back = " The configuration file's holds again." if removed["file"] else ""
    left = f" {removed['in_flight']} calls go on." if removed["in_flight"] else ""
    typer.echo(json.dumps(removed, indent=2) if as_json else f"Removed '{name}'.{left}{back}")


@app.command()
def drain(name: NameArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Ask an expert nothing new; what it is answering goes on."""
    turned(url, name, "drain", as_json)


@app.command()
def resume(name: NameArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Put a drained expert back into service."""
    turned(url, name, "resume", as_json)


@app.command()
def wake(name: NameArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Load an expert that sleeps."""
    turned(url, name, "wake", as_json)


@app.command()
def sleep(name: NameArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Unload an expert; its next request wakes it."""
    turned(url, name, "sleep", as_json)


@app.command()
def probe(name: NameArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Have an expert write a few tokens; exit code 1 when it cannot."""
    found = asked(url, "POST", f"{path_of(name)}/probe")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found["ok"]:
        typer.echo(f"{found['text']!r}: first token {found['first_token_ms']:g} ms, all {found['total_ms']:g} ms")
    else:
        typer.echo(found["error"]["message"])
    if not found["ok"]:
        raise typer.Exit(1)


def asked(url: str, method: str, path: str, body: Any = None, seconds: float = MORE_SECONDS) -> dict[str, Any]:
    """Return the gateway's answer to the administrator.

    Raises:
        ServiceError: it refused, or is not there.
    """
    with administrator(url) as client, reachable(url):
        return answered(client.request(method, path, json=body, timeout=seconds))


def path_of(name: str) -> str:
    """Return an expert's path."""
    return f"/admin/experts/{quote(name, safe='')}"


def turned(url: str, name: str, verb: str, as_json: bool) -> None:
    """Do something to an expert and say how it is now."""
    found = asked(url, "POST", f"{path_of(name)}/{verb}", seconds=10 * MORE_SECONDS)
    typer.echo(json.dumps(found, indent=2) if as_json else f"{name}: {found['state']}")


def added(url: str, record: dict[str, Any], dry_run: bool, replace: bool) -> dict[str, Any]:
    """Register one record, or put it in the place of the one that is there."""
    name = record.get("name")
    if dry_run:
        return asked(url, "POST", "/admin/experts?dry_run=true", record)
    there = replace and name in [each["name"] for each in asked(url, "GET", "/admin/experts")["data"]]
    return asked(url, "PUT", path_of(str(name)), record) if there else asked(url, "POST", "/admin/experts", record)


def read_records(file: Path) -> list[dict[str, Any]]:
    """Return the records in a file.

    Raises:
        ConfigError: it cannot be read, or holds no records.
    """
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not valid YAML or JSON: {' '.join(str(error).split())}") from error
    if isinstance(data, dict) and "experts" in data:
        data = data["experts"]
    records = data if isinstance(data, list) else [data]
    if not records or not all(isinstance(record, dict) for record in records):
        raise ConfigError(f"{file}: holds no experts; write one record, a list of them, or experts: and a list.")
    return [plain(record) for record in records]


def plain(value: Any) -> Any:
    """Return what YAML read as JSON can say it."""
    if isinstance(value, dict):
        return {
            YAML_SAYS_BOOLEAN.get(key, key) if isinstance(key, bool) else key: plain(each)
            for key, each in value.items()
        }
    return [plain(each) for each in value] if isinstance(value, list) else value


def show_experts(experts: list[dict[str, Any]]) -> None:
    """Print experts as a table."""
    examined = any(each.get("fusing") for each in experts)
    fusing = ["fusing"] if examined else []
    table = Table("expert", "state", "source", "version", "running", "waiting", "domains", *fusing, "server")
    for each in experts:
        load = each["load"] or {"in_flight": 0, "waiting": 0}
        server = ", ".join(replica["base_url"] for replica in each["health"])
        counts = [str(load["in_flight"]), str(load["waiting"])]
        domains = ", ".join(each["domains"])
        known = [each["name"], each["state"], each["source"], str(each["version"])]
        figures = [shown_fusing(each["fusing"])] if examined else []
        table.add_row(*known, *counts, domains, *figures, server)
    console.print(table)


def shown_fusing(found: dict[str, Any] | None) -> str:
    """Return how often a fuser wrote a right answer, of how many panels; empty where that was not examined."""
    return "" if found is None else f"{found['accuracy']:.2f} of {found['count']}"


def show_rehearsals(answers: list[dict[str, Any]]) -> None:
    """Print what registering would bring."""
    for each in answers:
        console.print(f"[bold]{each['name']}[/bold]: its record is good, nothing was registered")
        for replica in each["replicas"]:
            console.print(f"  {replica['base_url']}: {replica['error'] or 'serves it'}")
        for example in each["routing"]:
            console.print(f"  {example['expert']} ({example['confidence']:.2f}) would answer: {example['example']}")
