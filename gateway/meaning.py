"""What the configuration means here: who is the generalist, whether what it names exists, where folders are. Pure."""

from __future__ import annotations

from pathlib import Path

from aggregator import Aggregator
from aggregator.errors import UnknownStrategy
from aggregator.strategies.auto import AUTO
from experts.config import resolve_folder
from experts.errors import ConfigError
from experts.types import ExpertName
from gateway.configuration import GatewayConfig
from router import RoutingConfig


def default_expert(config: GatewayConfig) -> ExpertName:
    """Return the generalist: the configured one, else the first expert that declares no domain, else the first.

    Raises:
        ConfigError: routing.default, routing.llm.expert, or a key of the fusion section names nobody.
    """
    names = [expert.name for expert in config.experts]
    meant = {
        "routing.default": config.routing.default,
        "routing.llm.expert": config.routing.llm.expert,
        **config.fusion.experts(),
    }
    for key, named in meant.items():
        if named is not None and named not in names:
            raise ConfigError(f"{key} names '{named}', which is not one of {', '.join(names)}.")
    talking = [expert for expert in config.experts if expert.profile().speaks("chat")]
    generalists = [expert.name for expert in talking if not expert.domains]
    return config.routing.default or (generalists or [expert.name for expert in talking] or names)[0]


def check_strategy(config: GatewayConfig) -> None:
    """Refuse a fusion strategy that does not exist, and an `auto` that leads back to itself.

    Raises:
        ConfigError: fusion.strategy, fusion.auto.closed or fusion.auto.open names none that can be used there.
    """
    fusion = config.fusion
    meant = {"strategy": fusion.strategy, "auto.closed": fusion.auto.closed, "auto.open": fusion.auto.open}
    for key, name in meant.items():
        try:
            Aggregator().strategy(name)
        except UnknownStrategy as error:
            raise ConfigError(f"fusion.{key}: {error}") from error
        if key != "strategy" and name == AUTO:
            raise ConfigError(f"fusion.{key}: 'auto' cannot choose itself.")


def routing_config(routing: RoutingConfig, default: ExpertName, root: Path) -> RoutingConfig:
    """Return the routing section with the default expert filled in and folders found under `root`."""
    encoder = routing.encoder.model_copy(update={"model": resolve_folder(routing.encoder.model, root)})
    artifact = None if routing.artifact is None else resolve_folder(routing.artifact, root)
    return routing.model_copy(update={"default": default, "encoder": encoder, "artifact": artifact})
