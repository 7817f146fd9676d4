"""The commands there are, and that talking to a gateway does not import one."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from gateway.cli import COMMANDS, app

HEAVY = ("fastapi", "scipy", "sklearn", "torch", "router.router")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_page_of_help(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"])

    assert shown.exit_code == 0
    assert f" {name} " in shown.output


def test_a_command_that_does_not_exist_is_a_usage_error() -> None:
    assert 2 == CliRunner().invoke(app, ["nosuch"]).exit_code


@pytest.mark.parametrize("command", ["experts list", "keys list", "route hello", "router rollback"])
def test_commands_for_a_running_gateway_do_not_import_one(command: str) -> None:
    told = f"import sys; from gateway.cli import app; app({[*command.split(), '--help']!r}, standalone_mode=False); "
    shown = f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told + shown], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip().endswith("HEAVY []")
