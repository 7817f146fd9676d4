"""Which servers are awake when memory holds fewer than all: decided in `policy` (pure), carried out by `Keeper`."""

from experts.residency.base import ALWAYS_RESIDENT, Residency
from experts.residency.config import ResidencyConfig

__all__ = ["ALWAYS_RESIDENT", "Residency", "ResidencyConfig"]
