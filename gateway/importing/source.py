"""A foreign file as read: its data, the line of every key, and which keys somebody took."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from experts.errors import ConfigError

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody who comes from there has to know; `line` counts from 1."""

    line: int
    place: str
    text: str

    def sentence(self, path: Path) -> str:
        """Return it as the command line says it."""
        return f"{path}:{self.line}: {self.place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Imported:
    """A configuration of ours, the environment variables it names, and what did not carry over, by line."""

    configuration: dict[str, Any]
    remarks: tuple[Remark, ...]
    variables: tuple[str, ...] = ()


@dataclass
class Source:
    """One file. Remarks gather here while a reader works through its sections."""

    data: dict[str, Any]
    lines: Mapping[Place, int]
    remarks: list[Remark] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)

    @property
    def top(self) -> Section:
        """The whole file as a section."""
        return Section(self, (), self.data)

    def remark(self, place: Place, text: str) -> None:
        """Say something about a place in the file."""
        known = next((place[:n] for n in range(len(place), 0, -1) if place[:n] in self.lines), ())
        self.remarks.append(Remark(self.lines.get(known, 1), ".".join(map(str, place)) or "the file", text))

    def variable(self, name: str) -> str:
        """Return how our file names an environment variable."""
        if name not in self.variables:
            self.variables.append(name)
        return f"${{{name}}}"

    def imported(self, configuration: dict[str, Any]) -> Imported:
        """Return the result, its remarks in the order of the file."""
        remarks = sorted(self.remarks, key=lambda remark: remark.line)
        return Imported(configuration, tuple(remarks), tuple(self.variables))


@dataclass
class Section:
    """One mapping of the file; what is taken from it is spoken for, the rest becomes remarks."""

    source: Source
    place: Place
    data: dict[str, Any]
    taken: set[str] = field(default_factory=set)

    def take(self, key: str, kind: type | tuple[type, ...] = object) -> Any:
        """Return a value, or None where there is none or it is of another kind, which is remarked upon."""
        self.taken.add(key)
        value = self.data.get(key)
        if value is None or isinstance(value, kind):
            return value
        self.remark(key, f"is {type(value).__name__}, which nobody expected here; left out")
        return None

    def section(self, key: str) -> Section:
        """Return a mapping inside, empty where there is none."""
        return Section(self.source, (*self.place, key), self.take(key, dict) or {})

    def sections(self, key: str) -> Iterator[Section]:
        """Yield the mappings of a list, or of a mapping by its keys."""
        value = self.take(key, (list, dict)) or []
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            if isinstance(item, dict):
                yield Section(self.source, (*self.place, key, name), item)
            else:
                self.source.remark((*self.place, key, name), "is no mapping; left out")

    def remark(self, key: str, text: str) -> None:
        """Say something about one key."""
        self.source.remark((*self.place, key), text)

    def leave(self, reasons: Mapping[str, str]) -> None:
        """Remark upon every key that nobody took, with the reason where there is one."""
        for key in self.data.keys() - self.taken:
            self.remark(key, reasons.get(key, "has no counterpart here; left out"))


def read_source(path: Path) -> Source:
    """Read a file.

    Raises:
        ConfigError: it cannot be read, or is not a mapping in YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data, node = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or node is None:
        raise ConfigError(f"{path}: is empty or not a mapping.")
    return Source(data, dict(_lines(node, ())))


def expert_name(text: str, known: set[str]) -> str:
    """Return a name of ours close to `text`: letters, digits, `._:-`, at most 64, none of `known` and not reserved."""
    cleaned = re.sub(r"[^A-Za-z0-9._:-]+", "-", text).strip("-._:")[:60] or "expert"
    name = f"{cleaned}-expert" if cleaned in {"auto", "council"} else cleaned
    return next(option for option in (name, *(f"{name}-{n}" for n in range(2, 1000))) if option not in known)


def _lines(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*place, key.value), key.start_mark.line + 1
            yield from _lines(value, (*place, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*place, index), value.start_mark.line + 1
            yield from _lines(value, (*place, index))
