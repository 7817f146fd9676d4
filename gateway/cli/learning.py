"""`consilium router compare | rollback`: how a trial goes, and the way back, on a running gateway."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from experts.launch.state import state_folder
from gateway.admin_key import FILE_NAME
from gateway.cli.ask import answered, reachable
from gateway.cli.options import DEFAULT_URL, JsonOption, UrlOption

console = Console()


def compare(url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Compare the arms of the A/B split, and the shadow policy with what was done."""
    with administrator(url) as client, reachable(url):
        report = answered(client.get("/admin/router/report"))
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        show_report(report)


def rollback(
    version: Annotated[int | None, typer.Option(help="The version; without it, the newest kept before now.")] = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Return to an earlier version of what feedback taught."""
    with administrator(url) as client, reachable(url):
        body = {} if version is None else {"version": version}
        learning = answered(client.post("/admin/router/rollback", json=body))
    if as_json:
        typer.echo(json.dumps(learning, indent=2))
    else:
        kept = ", ".join(str(each) for each in learning["versions"])
        typer.echo(f"Returned. Now at version {learning['version']}; there are {kept} to return to.")


def administrator(url: str) -> httpx.Client:
    """Return a client with the administrator's key: CONSILIUM_ADMIN_KEY, or the one in the state folder."""
    key = os.environ.get("CONSILIUM_ADMIN_KEY", "")
    kept = state_folder() / FILE_NAME
    if not key and kept.is_file():
        key = kept.read_text(encoding="ascii").strip()
    return httpx.Client(base_url=url, timeout=60, headers={"authorization": f"Bearer {key}"})


def show_report(report: dict[str, Any]) -> None:
    """Print the arms side by side, the verdict, and the shadow."""
    table = Table("arm", "policy", "answers", "feedback", "USD", "seconds", "experts")
    for name, arm in report["arms"].items():
        means = [mean(arm[what]) for what in ("feedback", "cost_usd", "seconds")]
        table.add_row(name, arm["policy"], str(arm["requests"]), *means, shares(arm["experts"]))
    console.print(table)
    console.print(report["verdict"])
    shadow = report["shadow"]
    if shadow and shadow["requests"]:
        console.print(
            f"shadow {shadow['policy']}: asks the same expert in {shadow['agreement']:.0%} of {shadow['requests']}; "
            f"feedback where it would {mean(shadow['feedback_where_agreed'])}, "
            f"where not {mean(shadow['feedback_where_differed'])}; {shares(shadow['experts'])}"
        )


def mean(found: dict[str, Any]) -> str:
    """Return a mean with its interval and count in a few characters."""
    if found["mean"] is None:
        return "none"
    spread = "" if found["ci95"] is None else f" ({found['ci95'][0]:.3g} to {found['ci95'][1]:.3g})"
    return f"{found['mean']:.3g}{spread}, n={found['n']}"


def shares(experts: dict[str, float]) -> str:
    """Return who answered how often."""
    return ", ".join(f"{name} {share:.0%}" for name, share in list(experts.items())[:6])
