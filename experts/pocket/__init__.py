"""Pocket experts: very small specialists that ship with the project, so that routing can be tried without downloads.

Importing this door is cheap: training and evaluation (torch, transformers, peft) live in modules of their own.
"""

from __future__ import annotations

from pathlib import Path

from experts.pocket.exam import DOMAINS, generate
from experts.pocket.grading import grade
from experts.pocket.question import CodeTest, PocketQuestion, Split

__all__ = ["DOMAINS", "CodeTest", "PocketQuestion", "Split", "generate", "grade", "weights_folder"]


def weights_folder() -> Path:
    """Return the folder with `base/`, one LoRA adapter a domain, `fuser/`, `MODEL_CARD.md` and `figures.json`."""
    return Path(__file__).parent / "weights"
