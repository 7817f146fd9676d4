"""`consilium batch run`: answer a file of requests, in this process or through a running gateway."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from experts.errors import ConfigError, ServiceError
from gateway.batches import floor_of, settled
from gateway.batches.answering import Answerer
from gateway.batches.local import Errand, run_errand
from gateway.batches.opening import groups_at_once
from gateway.batches.record import Counts
from gateway.batches.sheet import MOST_LINES, Sheet, read_sheet
from gateway.cli.batch_input import SHOWN_PROBLEMS, write_full_lines
from gateway.cli.batch_progress import LineProgress
from gateway.cli.batch_remote import run_remote
from gateway.cli.options import ConfigOption, LauncherOption, RayAddressOption, configured, settings_with
from gateway.cli.progress import FleetProgress
from gateway.opening import open_services
from gateway.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Answer many requests, expert by expert.")
FULL = "input.jsonl"


class LinesFailed(ServiceError):
    """The batch is done, and some lines have an error instead of an answer."""


@app.callback()
def batch() -> None:
    """Answer many requests, expert by expert."""


@app.command("run")
def run(
    source: Annotated[Path, typer.Argument(metavar="IN.jsonl", help="Requests: Batch API lines, messages or prompts.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.jsonl", help="Answers, one line for each request.")],
    config: ConfigOption = None,
    url: Annotated[str | None, typer.Option(help="A running gateway, instead of experts of our own.")] = None,
    launcher: LauncherOption = None,
    ray_address: RayAddressOption = None,
    model: Annotated[str, typer.Option("--model", "-m", help="For lines that name none.")] = "auto",
) -> None:
    """Answer every line of a file. Interrupted, it goes on where it was when it is called again."""
    settings = settings_with(config=config, store=":memory:", redis_url="", launcher=launcher, ray_address=ray_address)
    unfinished = out.with_name(f"{out.name}.unfinished")
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{unfinished} cannot be made: {error.strerror}.") from error
    with LineProgress(Console(stderr=True)) as told, kept(unfinished):
        full = unfinished / FULL
        fingerprint = write_full_lines(source, full, model)
        sheet = checked(read_sheet(full, settings.max_body_bytes, most_lines=MOST_LINES if url else None), source)
        errand = Errand(sheet, unfinished / "journal", out, fingerprint)
        counts = run_remote(errand, url, told) if url else asyncio.run(run_here(errand, settings, told))
    shutil.rmtree(unfinished)
    typer.echo(f"{counts.completed} of {counts.total} lines answered: {out}", err=True)
    if counts.completed < counts.total:
        raise LinesFailed(f"{counts.total - counts.completed} of {counts.total} lines failed; {out} has their errors.")


@contextmanager
def kept(unfinished: Path) -> Iterator[None]:
    """Say where an interrupted run goes on from; where nothing was begun, leave nothing."""
    try:
        yield
    except ConfigError:
        if {path.name for path in unfinished.iterdir()} <= {FULL}:
            shutil.rmtree(unfinished)
        raise
    except KeyboardInterrupt:
        typer.echo(f"interrupted; call it again to go on ({unfinished} knows what is done)", err=True)
        raise


def checked(sheet: Sheet, source: Path) -> Sheet:
    """Return a sheet that can be run.

    Raises:
        ConfigError: it cannot; the first lines at fault are named.
    """
    if sheet.problems:
        told = [f"{source}:{problem.line or 1}: {problem.message}" for problem in sheet.problems[:SHOWN_PROBLEMS]]
        raise ConfigError("\n".join(told))
    return sheet


async def run_here(errand: Errand, settings: Settings, told: LineProgress) -> Counts:
    """Run it with the experts of the configuration; servers of ours are started and stopped with it."""
    read, root = configured(settings)
    with FleetProgress(told.console) as fleet:
        async with open_services(settings, read, root, fleet) as services:
            await settled(services.registry, services.standing.state)
            at_once = groups_at_once(read)
            answerer = Answerer(services.pipeline, None)
            return await run_errand(
                errand, answerer, lambda: floor_of(services.registry, services.standing.state, at_once), told
            )
