"""Which replicas are fit to serve: passive signals from calls, active probes between them."""

from experts.health.board import HealthBoard, ReplicaHealth
from experts.health.prober import Prober

__all__ = ["HealthBoard", "Prober", "ReplicaHealth"]
