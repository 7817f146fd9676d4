"""`routing.learning`, `routing.shadow` and `routing.split`: what is learnt from answers, and what is tried out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from experts.config import Strict
from router.learning.rule import DriftRule, LearningRule


class JudgeConfig(Strict):
    """Let another expert judge a share of the answers, in the background."""

    expert: str | None = Field(default=None, description="Who judges; none: nobody does.")
    share: float = Field(default=0.0, ge=0, le=1, description="Share of the answers that are judged.")
    concurrency: int = Field(default=1, ge=1, description="Judgements running at once; more are dropped, not queued.")
    deadline_seconds: float = Field(default=30, gt=0, description="Longest one judgement may take.")


class LearningConfig(Strict):
    """How feedback changes the routing."""

    enabled: bool = Field(default=True, description="Whether feedback changes the routing; it is counted in any case.")
    step: float = Field(default=0.05, gt=0, le=1, description="Most one answer can move a skill, in logits.")
    shared: float = Field(default=0.3, ge=0, le=1, description="How much of it holds for every domain.")
    forgetting: float = Field(default=0.0, ge=0, lt=1, description="Share of the shift one answer gives back.")
    max_shift: float = Field(default=2.0, gt=0, description="Furthest a skill can be from the measured one, in logits.")
    daily_shift: float = Field(
        default=0.5, gt=0, description="Furthest one key can move two experts apart in a day, in logits."
    )
    drift_slack: float = Field(default=0.05, ge=0, lt=1, description="Change of an expert's skill that is no alarm.")
    drift_threshold: float = Field(default=20, gt=0, description="Surprising answers before the alarm.")
    on_alarm: Literal["keep", "rollback"] = Field(
        default="keep",
        description="What a drift alarm does besides being told: go on learning, or return to before the drift.",
    )
    checkpoint_every: int = Field(default=50, ge=1, description="Lessons between two versions kept for a rollback.")
    checkpoints: int = Field(default=50, ge=1, description="Versions kept.")
    remember: int = Field(default=20_000, ge=1, description="Decisions that feedback can still be given on.")
    keep_prompts: bool = Field(
        default=False, description="Keep prompt and comment texts, in memory, for /admin/decisions."
    )
    judge: JudgeConfig = Field(default=JudgeConfig(), description="Answers judged by another expert.")

    def rule(self) -> LearningRule:
        """Return the rule these settings make."""
        return LearningRule(
            step=self.step,
            shared=self.shared,
            forgetting=self.forgetting,
            max_shift=self.max_shift,
            daily_shift=self.daily_shift,
            drift=DriftRule(slack=self.drift_slack, threshold=self.drift_threshold),
        )


class ShadowConfig(Strict):
    """A second policy that decides too, without acting."""

    policy: str | None = Field(default=None, description="The policy; none: no shadow.")
    share: float = Field(default=1.0, ge=0, le=1, description="Share of requests it decides on.")


class SplitConfig(Strict):
    """A share of conversations is routed by another policy: an A/B test."""

    policy: str | None = Field(default=None, description="The policy of arm b; none: everybody is in arm a.")
    share: float = Field(default=0.1, ge=0, le=1, description="Share of conversations in arm b.")
