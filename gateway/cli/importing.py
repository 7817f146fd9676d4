"""`consilium config import`: another gateway's file as ours, and line by line what did not carry over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experts.errors import ConfigError
from gateway.importing import as_yaml, import_config

FileArgument = Annotated[Path, typer.Argument(help="LiteLLM's config.yaml (model_list) or llama-swap's (models).")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="Write there instead of printing it.")]


def import_file(file: FileArgument, output: OutputOption = None) -> None:
    """Turn a LiteLLM or llama-swap file into one of ours; what cannot be carried over is said on standard error."""
    origin, imported = import_config(file)
    text = as_yaml(imported, f"{origin}'s {file.name}")
    if output is None:
        typer.echo(text, nl=False)
    else:
        _write(output, text)
    for remark in imported.remarks:
        typer.echo(remark.sentence(file), err=True)
    names = ", ".join(expert["name"] for expert in imported.configuration["experts"])
    typer.echo(f"{len(imported.configuration['experts'])} experts: {names}; {len(imported.remarks)} remarks.", err=True)
    if imported.variables:
        typer.echo(f"Set before it starts: {', '.join(imported.variables)}.", err=True)
    typer.echo("Say what each is for (domains, or a few examples), or measure it: consilium experts profile.", err=True)


def _write(output: Path, text: str) -> None:
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{output} is there already: name another file.") from error
    except OSError as error:
        raise ConfigError(f"{output} cannot be written ({error.strerror}).") from error
