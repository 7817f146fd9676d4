"""Which experts exist: an immutable snapshot, name -> expert. A change builds a new one and swaps it.

Readers take `registry.snapshot` once per request and see one consistent world, whatever happens meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from experts.config import ExpertConfig
from experts.errors import ConfigError
from experts.profile import SkillProfile
from experts.types import ExpertName


@dataclass(frozen=True, slots=True)
class Replica:
    """One running server of an expert. `base_url` ends without a slash and carries the /v1."""

    base_url: str
    api_key: str = field(default="", repr=False)
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Expert:
    """A named model one can route to: what the router sees (`profile`) and how it is reached.

    A drained one finishes what it has and is asked nothing new.
    """

    config: ExpertConfig
    profile: SkillProfile
    replicas: tuple[Replica, ...]
    drained: bool = False

    @property
    def name(self) -> ExpertName:
        return self.config.name


Snapshot = Mapping[ExpertName, Expert]


class Registry:
    """Hold the current snapshot."""

    def __init__(self, experts: Iterable[Expert] = ()) -> None:
        self._snapshot: Snapshot = MappingProxyType({})
        self._profiles: tuple[SkillProfile, ...] = ()
        self.swap(experts)

    @property
    def snapshot(self) -> Snapshot:
        """The experts as they are now, in configuration order; never changes under the reader."""
        return self._snapshot

    @property
    def profiles(self) -> tuple[SkillProfile, ...]:
        """Every routed expert as the router sees it; the same tuple until the experts change."""
        return self._profiles

    def swap(self, experts: Iterable[Expert]) -> None:
        """Replace the snapshot.

        Raises:
            ConfigError: two experts share a name, or a fallback or adapter base does not exist.
        """
        fresh: dict[ExpertName, Expert] = {}
        for expert in experts:
            if expert.name in fresh:
                raise ConfigError(f"Two experts are called '{expert.name}'; names must differ.")
            fresh[expert.name] = expert
        for expert in fresh.values():
            _check_references(expert.config, fresh)
        self._snapshot = MappingProxyType(fresh)
        profiles = tuple(expert.profile for expert in fresh.values() if expert.config.routed)
        if profiles != self._profiles:
            self._profiles = profiles


def _check_references(config: ExpertConfig, known: Mapping[ExpertName, Expert]) -> None:
    named = [("fallback", name) for name in config.fallback]
    if config.adapter:
        named.append(("adapter.base", config.adapter.base))
    for where, name in named:
        if name not in known:
            listed = ", ".join(known)
            raise ConfigError(f"Expert '{config.name}': {where} names '{name}', which is not one of {listed}.")


def static_replicas(config: ExpertConfig) -> tuple[Replica, ...]:
    """Return the replicas an operator wrote down."""
    return tuple(
        Replica(str(replica.base_url).rstrip("/"), replica.api_key.get_secret_value(), replica.weight)
        for replica in config.replicas
    )
