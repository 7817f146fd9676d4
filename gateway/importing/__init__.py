"""Other gateways' configuration files, read as ours: what carries over, and line by line what does not.

    file -> Source (data and line numbers) -> litellm or llama_swap -> Imported -> YAML

Nothing is dropped in silence: a key that no one took is a remark.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import yaml
from pydantic import ValidationError

from experts.errors import ConfigError
from gateway.configuration import GatewayConfig, filled
from gateway.importing.litellm import from_litellm
from gateway.importing.llama_swap import from_llama_swap
from gateway.importing.source import Imported, Remark, Source, read_source

Reader: TypeAlias = Callable[[Source], Imported]
FORMATS: dict[str, tuple[str, Reader]] = {
    "model_list": ("LiteLLM", from_litellm),
    "models": ("llama-swap", from_llama_swap),
}
"""By the key at the top that tells a format."""


def import_config(path: Path) -> tuple[str, Imported]:
    """Return whose file it is, and what it says in our words.

    Raises:
        ConfigError: it cannot be read, is of no format we know, or nothing in it carries over.
    """
    source = read_source(path)
    for key, (name, reader) in FORMATS.items():
        if key in source.top.data:
            imported = reader(source)
            return name, _checked(imported, path)
    known = " or ".join(f"{name} ({key}:)" for key, (name, _) in FORMATS.items())
    raise ConfigError(f"{path}: is not a file of {known}.")


def as_yaml(imported: Imported, origin: str) -> str:
    """Return our configuration file."""
    head = f"# From {origin}. `consilium config import` said what did not carry over; docs/migration.md explains.\n"
    return head + yaml.safe_dump(imported.configuration, sort_keys=False, allow_unicode=True, width=120)


def _checked(imported: Imported, path: Path) -> Imported:
    """Return it when a gateway would take it; variables may be anything."""
    if not imported.configuration.get("experts"):
        told = "\n".join(remark.sentence(path) for remark in imported.remarks)
        raise ConfigError(f"{path}: nothing in it can be an expert here.\n{told}")
    names = dict.fromkeys(imported.variables, "x")
    try:
        GatewayConfig.model_validate(filled(imported.configuration, path, names))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: would become a file of ours that is wrong at {where}: {first['msg']}.") from error
    return imported


__all__ = ["Imported", "Remark", "as_yaml", "import_config"]
