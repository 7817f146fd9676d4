"""Read the YAML file: what a team wants. Every complaint names the file, the line and the mend.

Sections belong to their rooms (`experts:` to experts, `routing:` to router, `fusion:` to aggregator); this
file only composes them, fills in ${VAR} and ${VAR:-default}, and turns pydantic's findings into sentences.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, PrivateAttr, ValidationError

from aggregator import FusionConfig
from experts.config import ExpertConfig, Strict
from experts.errors import ConfigError
from experts.residency import ResidencyConfig
from gateway.cache.config import CacheConfig
from gateway.limits.config import KeyLimitsConfig
from gateway.upstreams import RegistryConfig
from router import RoutingConfig

BUILTIN = "builtin:"
VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


class GatewayConfig(Strict):
    """The whole file."""

    experts: list[ExpertConfig] = Field(min_length=1)
    routing: RoutingConfig = RoutingConfig()
    fusion: FusionConfig = FusionConfig()
    residency: ResidencyConfig = ResidencyConfig()
    registry: RegistryConfig = RegistryConfig()
    limits: KeyLimitsConfig = KeyLimitsConfig()
    cache: CacheConfig = CacheConfig()
    _texts: tuple[Mapping[str, Any], ...] = PrivateAttr(default=())
    _path: Path | None = PrivateAttr(default=None)

    @property
    def texts(self) -> tuple[Mapping[str, Any], ...]:
        """The experts in the file's own words, variables not filled in; empty when no file was read."""
        return self._texts

    @property
    def path(self) -> Path | None:
        """The file that was read; None when none was."""
        return self._path


def config_path(reference: str) -> Path:
    """Return the file that `reference` names: a path, or `builtin:NAME` for one that ships with Consilium.

    Raises:
        ConfigError: there is no such file.
    """
    if reference.startswith(BUILTIN):
        path = Path(str(resources.files("gateway") / "examples" / f"{reference.removeprefix(BUILTIN)}.yaml"))
    else:
        path = Path(reference)
    if not path.is_file():
        raise ConfigError(
            f"There is no configuration file '{reference}': name one with --config, "
            "or try --config builtin:pocket for the experts that ship with Consilium."
        )
    return path


def load_config(path: Path, environment: Mapping[str, str] = os.environ) -> GatewayConfig:
    """Read and check one file.

    Raises:
        ConfigError: it is not YAML, has an unknown key or a bad value, or names a variable that is not set.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {_one_line(error)}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: is empty or not a mapping; it needs at least an experts: section.")
    config = _checked(filled(data, path, environment), path, node)
    config._texts, config._path = tuple(data["experts"]), path
    return config


def _checked(data: Any, path: Path, node: yaml.Node | None) -> GatewayConfig:
    try:
        return GatewayConfig.model_validate(data)
    except ValidationError as error:
        told = [_sentence(finding, path, node) for finding in error.errors(include_url=False)]
        raise ConfigError("\n".join(told)) from error


def _sentence(finding: Mapping[str, Any], path: Path, node: yaml.Node | None) -> str:
    location = tuple(finding["loc"])
    where = ".".join(str(part) for part in location)
    what = finding["msg"].removeprefix("Value error, ")
    if finding["type"] == "extra_forbidden":
        what = "unknown key (see `consilium config schema` for the keys there are)"
    return f"{path}:{_line(node, location)}: {where}: {what}"


def _line(node: yaml.Node | None, location: tuple[str | int, ...]) -> int:
    """Return the line (from 1) of the deepest part of `location` that the file has."""
    line = 1 if node is None else node.start_mark.line + 1
    for part in location:
        node, found = _child(node, part)
        if node is None:
            return line
        line = found
    return line


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node | None, int]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    return None, 0


def filled(value: Any, where: object, environment: Mapping[str, str]) -> Any:
    """Return a value with ${NAME} and ${NAME:-default} filled in, inside lists and mappings too.

    Args:
        where: the file or field, for the complaint.

    Raises:
        ConfigError: a variable is not set and has no default.
    """
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: _variable(match, where, environment), value)
    if isinstance(value, list):
        return [filled(item, where, environment) for item in value]
    if isinstance(value, dict):
        return {key: filled(item, where, environment) for key, item in value.items()}
    return value


def _variable(match: re.Match[str], where: object, environment: Mapping[str, str]) -> str:
    name, default = match["name"], match["default"]
    if (found := environment.get(name, default)) is None:
        raise ConfigError(f"{where}: uses ${{{name}}}, which is not set: set it, or write ${{{name}:-default}}.")
    return found


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
