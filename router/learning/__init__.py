"""Learning online: feedback moves what is known about experts, a little at a time, and can be taken back.

Pure: a state and an observation make the next state. Whoever holds the state keeps it (`gateway/learning.py`).
"""

from router.learning.comparison import ArmSums, Difference, Moments, ShadowSums, TrialSums, difference, verdict
from router.learning.config import JudgeConfig, LearningConfig, ShadowConfig, SplitConfig
from router.learning.credit import Authorship, Credit, credits
from router.learning.drift import Detector, noticed
from router.learning.offsets import Offsets, corrected, logit, offset_table, overlaid, shifted
from router.learning.records import from_body, to_body
from router.learning.replay import TARGETS, replay
from router.learning.rule import DriftRule, LearningRule
from router.learning.sampling import in_share
from router.learning.state import (
    Alarm,
    Learned,
    Learning,
    Lesson,
    Mark,
    Observation,
    observed,
    restored,
    revised,
    taken_back,
)

__all__ = [
    "TARGETS",
    "Alarm",
    "ArmSums",
    "Authorship",
    "Credit",
    "Detector",
    "Difference",
    "DriftRule",
    "JudgeConfig",
    "Learned",
    "Learning",
    "LearningConfig",
    "LearningRule",
    "Lesson",
    "Mark",
    "Moments",
    "Observation",
    "Offsets",
    "ShadowConfig",
    "ShadowSums",
    "SplitConfig",
    "TrialSums",
    "corrected",
    "credits",
    "difference",
    "from_body",
    "in_share",
    "logit",
    "noticed",
    "observed",
    "offset_table",
    "overlaid",
    "replay",
    "restored",
    "revised",
    "shifted",
    "taken_back",
    "to_body",
    "verdict",
]
