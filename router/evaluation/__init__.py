"""Measuring routing on recorded outcomes: baselines, intervals, votes, curves, controls. No network, no torch."""

from router.evaluation.evaluate import evaluate_routing
from router.evaluation.reference import Reference

__all__ = ["Reference", "evaluate_routing"]
