"""Offline: fit a domain head on labelled prompts, and measure it. Nothing here runs while requests are served."""

from router.training.evaluate import evaluate_head
from router.training.train import train_head

__all__ = ["evaluate_head", "train_head"]
