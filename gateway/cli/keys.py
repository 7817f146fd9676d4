"""`consilium keys`: keys of a running gateway, given out, changed and revoked with the administrator's key."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from experts.errors import ConfigError
from gateway.cli.experts import asked
from gateway.cli.options import DEFAULT_URL, JsonOption, UrlOption

KeyArgument = Annotated[str, typer.Argument(help="The key's id, as `consilium keys list` shows it.")]
LISTS = frozenset({"experts", "tags"})
SECONDS_PER_DAY = 86_400
console = Console()
app = typer.Typer(no_args_is_help=True, help="Give out and revoke keys of a running gateway.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    experts: Annotated[list[str] | None, typer.Option("--expert", help="Only this expert; may be repeated.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="Only experts with this tag; repeated: all.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="Most requests in a minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(help="Most tokens in a minute.")] = None,
    budget_usd: Annotated[float | None, typer.Option(help="Most it may cost in its period.")] = None,
    budget_period: Annotated[str, typer.Option(help="total, day or month (UTC).")] = "total",
    expires_days: Annotated[float | None, typer.Option(help="Days it holds.")] = None,
    priority: Annotated[int | None, typer.Option(help="Usual and highest routing.priority, -10 to 10.")] = None,
    share: Annotated[int, typer.Option(help="Turns where requests wait, for each one of other keys.")] = 1,
    cache: Annotated[bool, typer.Option("--cache", help="Answer the same request again from the cache.")] = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Give out a key. It is shown now and never again."""
    body = {
        "name": name,
        "experts": experts or [],
        "tags": tags or [],
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "budget_usd": budget_usd,
        "budget_period": budget_period,
        "priority": priority,
        "share": share,
        "cache": cache,
        "expires_at": None if expires_days is None else time.time() + expires_days * SECONDS_PER_DAY,
    }
    made = asked(url, "POST", "/admin/keys", body)
    if as_json:
        typer.echo(json.dumps(made, indent=2))
        return
    typer.echo(made["key"])
    typer.echo(f"This is '{name}' ({made['id']}). The key is not kept: it cannot be shown again.", err=True)


@app.command()
def change(
    key_id: KeyArgument,
    settings: Annotated[list[str], typer.Argument(help="FIELD=VALUE as in a key's record; FIELD= takes a limit away.")],
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Change what a key may do, such as requests_per_minute=120 or experts=math,law."""
    after = asked(url, "PATCH", path_of(key_id), dict(field(each) for each in settings))
    typer.echo(json.dumps(after, indent=2) if as_json else f"Changed '{after['name']}' ({key_id}).")


def field(setting: str) -> tuple[str, Any]:
    """Return what FIELD=VALUE says, as JSON would: lists are comma-separated, nothing is null.

    Raises:
        ConfigError: there is no `=`.
    """
    name, equals, value = setting.partition("=")
    if not equals:
        raise ConfigError(f"'{setting}' should be FIELD=VALUE, such as requests_per_minute=120.")
    if name in LISTS:
        return name, [each.strip() for each in value.split(",") if each.strip()]
    return name, None if not value else json_or_text(value)


def json_or_text(value: str) -> Any:
    """Return a number, true or false where it is one, else the text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


@app.command("list")
def list_keys(url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """List the keys that were given out and what each may use."""
    found = asked(url, "GET", "/admin/keys")["data"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table(
        "id", "name", "state", "expires", "experts", "tags", "requests/min", "tokens/min", "USD", "priority", "cache"
    )
    for each in found:
        table.add_row(*(shown(value) for value in row_of(each)))
    console.print(table)


@app.command()
def revoke(
    key_id: KeyArgument,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Let nobody in with a key any more."""
    gone = asked(url, "DELETE", path_of(key_id))
    typer.echo(json.dumps(gone, indent=2) if as_json else f"Revoked '{gone['name']}' ({key_id}).")


def path_of(key_id: str) -> str:
    """Return where a key is."""
    return f"/admin/keys/{quote(key_id, safe='')}"


def row_of(key: dict[str, Any]) -> list[Any]:
    """Return a key's columns."""
    expires = None if key["expires_at"] is None else f"{datetime.fromtimestamp(key['expires_at'], UTC):%Y-%m-%d %H:%M}Z"
    budget = None if key["budget_usd"] is None else f"{key['budget_usd']:g} {key['budget_period']}"
    return [
        *(key["id"], key["name"], key["state"], expires, ", ".join(key["experts"]), ", ".join(key["tags"])),
        *(key["requests_per_minute"], key["tokens_per_minute"], budget, key["priority"]),
        "yes" if key.get("cache") else None,
    ]


def shown(value: Any) -> str:
    """Return a cell; empty where nothing is set."""
    return "" if value is None else str(value)
