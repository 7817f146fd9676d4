"""How do several answers become one? Fusion strategies over experts' answers, alive under partial failure."""

from aggregator.aggregator import Aggregator
from aggregator.config import FusionConfig
from aggregator.strategies import STRATEGIES

__all__ = ["STRATEGIES", "Aggregator", "FusionConfig"]
