"""Which domains there are, how they group, and what a question of each looks like.

The default taxonomy (`taxonomy.yaml`) is one among others: an operator adds domains by examples, an expert
may declare a group's name, and a name nobody knows is simply a domain of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import yaml

from experts.types import Domain

OUT_OF_SCOPE: Domain = "oos"
"""The label of prompts that belong to no domain: heads learn from ours what they are not for, others only measure."""

WIDER = {"engineering": "science"}
"""What a domain counts as among labels that have neither it nor one of its groups."""


@dataclass(frozen=True, slots=True)
class DomainEntry:
    """One domain: what it is about and questions that belong to it."""

    name: Domain
    description: str = ""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Domains in a fixed order, and groups: another name for one domain or several."""

    entries: Mapping[Domain, DomainEntry] = field(default_factory=dict)
    groups: Mapping[str, tuple[Domain, ...]] = field(default_factory=dict)

    @property
    def domains(self) -> tuple[Domain, ...]:
        return tuple(self.entries)

    def expand(self, names: Iterable[str]) -> tuple[Domain, ...]:
        """Return the domains that the names mean, in order, each once; an unknown name means itself.

        A domain's name wins over a group's.
        """
        found: dict[Domain, None] = {}
        for name in names:
            members = (name,) if name in self.entries else self.groups.get(name, (name,))
            found.update(dict.fromkeys(members))
        return tuple(found)

    def meanings(self, labels: Iterable[str]) -> dict[Domain, str]:
        """Return under which of the labels each domain falls: itself, a group it belongs to, or a wider one."""
        chosen = sorted(set(labels))
        found = {domain: label for label in chosen for domain in self.expand([label])}
        for domain, wider in WIDER.items():
            if wider in chosen:
                found.setdefault(domain, wider)
        return {domain: label for domain, label in found.items() if domain in self.entries}

    def examples(self, name: str) -> tuple[str, ...]:
        """Return the example questions of a domain, or of all domains of a group."""
        entries = (self.entries.get(domain) for domain in self.expand([name]))
        return tuple(text for entry in entries if entry for text in entry.examples)

    def with_domain(self, entry: DomainEntry, group: str | None = None) -> Taxonomy:
        """Return a taxonomy that also knows `entry`; a known name gets its examples added."""
        known = self.entries.get(entry.name, DomainEntry(entry.name))
        merged = DomainEntry(entry.name, entry.description or known.description, known.examples + entry.examples)
        groups = dict(self.groups)
        if group is not None:
            groups[group] = tuple(dict.fromkeys([*groups.get(group, ()), entry.name]))
        return Taxonomy({**self.entries, entry.name: merged}, groups)


@cache
def default_taxonomy() -> Taxonomy:
    """Return the sixteen domains that ship with the project."""
    table = yaml.safe_load(files("router").joinpath("taxonomy.yaml").read_text(encoding="utf-8"))
    entries = {
        name: DomainEntry(name, entry["description"], tuple(entry["examples"]))
        for name, entry in table["domains"].items()
    }
    return Taxonomy(entries, {name: tuple(members) for name, members in table["groups"].items()})
