"""The `consilium` command. Each group of commands is a file; errors of ours become one sentence and an exit code.

Exit codes: 0 done, 1 it failed, 2 the command or the configuration is wrong.
"""

from __future__ import annotations

import sys

import typer

from experts.errors import ConfigError, ServiceError
from gateway.cli import ask, batch, config, demo, doctor, experts, fusers, keys, learning, profile, serve, training

app = typer.Typer(
    name="consilium",
    help="A gateway for your own specialist language models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("route")(ask.route)
app.command("chat")(ask.chat)
app.command("doctor")(doctor.doctor)
experts.app.command("profile")(profile.profile)
experts.app.command("benchmark-fuser")(fusers.benchmark_fuser)
app.add_typer(experts.app, name="experts", help="List and change the experts of a running gateway.")
app.add_typer(keys.app, name="keys", help="Give out and revoke keys of a running gateway.")
app.add_typer(batch.app, name="batch", help="Answer many requests, expert by expert.")
app.add_typer(config.app, name="config", help="Check, show and explain the configuration file.")
training.app.command("compare")(learning.compare)
training.app.command("rollback")(learning.rollback)
app.add_typer(training.app, name="router", help="Train and evaluate the routing.")


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
