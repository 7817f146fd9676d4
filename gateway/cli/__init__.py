"""The `consilium` command. Each group of commands is a file; errors of ours become one sentence and an exit code.

A command's file is read when it is asked for: what a gateway needs takes two seconds to import, and most commands
only talk to one. Exit codes: 0 done, 1 it failed, 2 the command or the configuration is wrong.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from experts.errors import ConfigError, ServiceError

COMMANDS = {
    "serve": "serve:serve",
    "demo": "demo:demo",
    "route": "ask:route",
    "chat": "ask:chat",
    "doctor": "doctor:doctor",
    "experts": "experts:app",
    "keys": "keys:app",
    "batch": "batch:app",
    "config": "config:app",
    "router": "training:app",
}
"""Where each command is: a function, or a group of commands."""


class LateCommands(TyperGroup):
    """Commands that are imported when they are asked for. Typer's own click is private, hence `Any`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return their names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return one of them, or None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        return as_command(getattr(import_module(f"gateway.cli.{module}"), name), cmd_name)


def as_command(found: Any, name: str) -> Any:
    """Return a function or a group as a command of this name."""
    group = found
    if not isinstance(found, typer.Typer):
        group = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        group.command(name)(found)
    command = get_command(group)
    command.name = name
    return command


app = typer.Typer(
    cls=LateCommands, name="consilium", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)


@app.callback()
def consilium() -> None:
    """A gateway for your own specialist language models."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except ConfigError as error:
        _leave(error, 2)
    except ServiceError as error:
        _leave(error, 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _leave(error: ServiceError, code: int) -> None:
    for line in str(error).splitlines():
        typer.secho(f"consilium: {line}", fg="red", err=True)
    sys.exit(code)


__all__ = ["app", "main"]
