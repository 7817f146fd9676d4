"""Examine fusers: panels of real answers, what fusers make of them, and what that gains. Asking is elsewhere."""

from __future__ import annotations

from experts.fusing_exam.figures import Fused, fuser_body, scored
from experts.fusing_exam.gain import Advice, advice, advice_body, best_first
from experts.fusing_exam.panels import KINDS, Panel, PanelKind, Seat, panels

__all__ = [
    "KINDS",
    "Advice",
    "Fused",
    "Panel",
    "PanelKind",
    "Seat",
    "advice",
    "advice_body",
    "best_first",
    "fuser_body",
    "panels",
    "scored",
]
