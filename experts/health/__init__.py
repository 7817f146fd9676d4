"""Which replicas are fit to serve: passive signals from calls, active probes between them."""

from experts.health.board import Breaker, HealthBoard, ReplicaHealth
from experts.health.prober import Prober

__all__ = ["Breaker", "HealthBoard", "Prober", "ReplicaHealth"]
