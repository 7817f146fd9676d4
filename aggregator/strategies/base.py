"""What every fusion strategy promises. `tests/contracts/test_strategies.py` holds each one to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from aggregator.types import FusionReport, FusionTask
from experts.types import AnswerChunk


class Strategy(Protocol):
    """Many candidates in, one stream of chunks out.

    A strategy sets `report.answered_by` before its first chunk, survives any candidate's failure while the
    quorum holds, calls no expert it was not given, and has closed every stream when its generator ends.
    """

    name: str

    def fuse(self, task: FusionTask, report: FusionReport) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the fused answer.

        Raises:
            QuorumNotReached: too few candidates answered.
            ExpertError: a lone candidate failed.
        """
        ...
