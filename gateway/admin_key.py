"""The administrator's key: set, or made once and kept in the state folder for its owner's eyes only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from experts.errors import ConfigError
from experts.launch.state import state_folder
from gateway.settings import Settings

FILE_NAME = "admin.key"


def with_admin_key(settings: Settings) -> tuple[Settings, Path | None]:
    """Return the settings with an admin key, and the file it is in; None when it was set, or nowhere to be kept.

    Without a state folder there is no admin key, and nobody may administer.
    """
    if settings.admin_key.get_secret_value():
        return settings, None
    try:
        path = state_folder() / FILE_NAME
        key = _kept(path)
    except (ConfigError, OSError):
        return settings, None
    return settings.model_copy(update={"admin_key": SecretStr(key)}), path


def _kept(path: Path) -> str:
    """Return the key in the file, made now when there is none; of two processes that make one, the first wins."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        key = secrets.token_urlsafe(32)
        file.write(f"{key}\n")
    return key
