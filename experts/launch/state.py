"""The one folder on this machine that we write to: environments, logs, locks."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_state_path

from experts.errors import ConfigError


def state_folder() -> Path:
    """Return the state folder, made on first use and readable by its owner only.

    `CONSILIUM_STATE_DIR` moves it; else it is where this platform keeps a user's state.

    Raises:
        ConfigError: it is not there and cannot be made.
    """
    chosen = os.environ.get("CONSILIUM_STATE_DIR")
    folder = Path(chosen).expanduser() if chosen else user_state_path("consilium")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"the state folder {folder} cannot be made ({error.strerror}): set CONSILIUM_STATE_DIR to one that can"
        ) from error
    return folder


def log_path(server: str) -> Path:
    """Return where the log of a server of ours is written; the previous run's is beside it as `.log.1`."""
    folder = state_folder() / "logs"
    folder.mkdir(exist_ok=True)
    return folder / f"{server.replace(':', '_')}.log"
