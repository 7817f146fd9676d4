"""What a key may use: requests and tokens per minute, a budget. In this process, or in a Redis that several share."""

from gateway.limits.base import Caps, Limiter, Standing
from gateway.limits.gate import Gate, Visit

__all__ = ["Caps", "Gate", "Limiter", "Standing", "Visit"]
