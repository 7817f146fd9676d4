"""`consilium config`: check, show and explain the configuration file."""

from __future__ import annotations

import json

import typer
import yaml

from gateway.cli.importing import import_file
from gateway.cli.options import ConfigOption, configured, settings_with
from gateway.configuration import GatewayConfig

app = typer.Typer(no_args_is_help=True, help="Check, show and explain the configuration file.")
app.command("import")(import_file)


@app.command()
def validate(config: ConfigOption = None) -> None:
    """Check the file and say what is wrong with it, line by line."""
    settings = settings_with(config=config)
    read, _ = configured(settings)
    typer.echo(f"{settings.config}: good, {len(read.experts)} experts: {', '.join(e.name for e in read.experts)}")


@app.command()
def show(config: ConfigOption = None) -> None:
    """Print the configuration in force, defaults filled in and keys hidden."""
    read, _ = configured(settings_with(config=config))
    typer.echo(yaml.safe_dump(read.model_dump(mode="json"), sort_keys=False), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the file, for editors."""
    typer.echo(json.dumps(GatewayConfig.model_json_schema(), indent=2))
