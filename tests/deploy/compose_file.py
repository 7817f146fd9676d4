"""Read compose.yaml as Compose does, as far as ours goes: include, extends, merge, variables, profiles.

Written after the Compose specification (sections Include, Extends, Merge, Interpolation, Profiles), because no Docker
Compose runs where the tests do. What it does not know it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>(?:[^{}]|\{[^{}]*\})*))?\})")
REPLACED = {"command", "entrypoint", "test"}


class Unset(Exception):
    """A variable that has to be set is not; the message is the file's own."""


@dataclass(frozen=True)
class Project:
    """The services of the chosen profiles, whole, and the variables that were asked for."""

    services: Mapping[str, dict[str, Any]]
    volumes: Mapping[str, Any]
    networks: Mapping[str, Any]
    asked: frozenset[str]


@dataclass
class _Reader:
    environment: Mapping[str, str]
    asked: set[str] = field(default_factory=set)

    def file(self, path: Path) -> dict[str, Any]:
        read: dict[str, Any] = self.filled(yaml.safe_load(path.read_text()))
        services = {name: self.service(path, body) for name, body in read.get("services", {}).items()}
        parts = [{**read, "services": services}, *(self.file(path.parent / other) for other in read.get("include", []))]
        return {
            key: _united(key, [part.get(key) or {} for part in parts]) for key in ("services", "volumes", "networks")
        }

    def service(self, path: Path, body: dict[str, Any]) -> dict[str, Any]:
        body = dict(body)
        extended = body.pop("extends", None)
        body["_folder"] = path.parent
        if isinstance(body.get("networks"), list):
            body["networks"] = {name: {} for name in body["networks"]}
        if extended is None:
            return body
        other = path.parent / extended["file"]
        base = self.service(other, self.filled(yaml.safe_load(other.read_text()))["services"][extended["service"]])
        return merged(base, body)

    def filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return VARIABLE.sub(self._variable, value)
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if isinstance(value, dict):
            return {key: self.filled(item) for key, item in value.items() if not str(key).startswith("x-")}
        return value

    def _variable(self, match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        self.asked.add(match["name"])
        found = self.environment.get(match["name"], "")
        if found:
            return found
        if match["kind"] == "?":
            raise Unset(f"{match['name']}: {match['rest']}")
        return str(self.filled(match["rest"] or ""))


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return `over` on top of `base`: mappings key by key, lists one after the other, commands replaced."""
    result = dict(base)
    for key, value in over.items():
        known = result.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            result[key] = merged(known, value)
        elif isinstance(known, list) and isinstance(value, list) and key not in REPLACED:
            result[key] = [*known, *value]
        else:
            result[key] = value
    return result


def load(environment: Mapping[str, str], path: Path = ROOT / "compose.yaml") -> Project:
    """Return what `docker compose up` would start with this environment; COMPOSE_PROFILES chooses.

    Raises:
        Unset: a variable without which nothing starts has no value.
    """
    reader = _Reader(environment)
    whole = reader.file(path)
    profiles = set(environment.get("COMPOSE_PROFILES", "").split(","))
    chosen = {
        name: body
        for name, body in whole["services"].items()
        if not body.get("profiles") or profiles & set(body["profiles"])
    }
    return Project(chosen, whole["volumes"], whole["networks"], frozenset(reader.asked))


def example_environment() -> dict[str, str]:
    """Return what `.env.example` sets."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def in_force(profile: str) -> dict[str, str]:
    """Return the example environment with a key and a profile, as somebody would fill it in."""
    return {**example_environment(), "CONSILIUM_API_KEYS": "sk-test", "COMPOSE_PROFILES": profile}


def names_of(name: str, body: Mapping[str, Any]) -> set[str]:
    """Return the names under which others reach a service."""
    aliases = (network or {} for network in body.get("networks", {}).values())
    return {name, *(alias for network in aliases for alias in network.get("aliases", []))}


def _united(key: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return several files' sections as one; Compose refuses two that differ under one name."""
    result: dict[str, Any] = {}
    for part in parts:
        for name, body in part.items():
            assert result.get(name, body) == body, f"{key}.{name} is defined twice, and differently"
            result[name] = body
    return result
