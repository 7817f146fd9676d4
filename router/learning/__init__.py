"""Learning online: feedback moves what is known about experts, a little at a time, and can be taken back.

Pure: a state and an observation make the next state. Whoever holds the state keeps it (`gateway/learning.py`).
"""

from router.learning.config import JudgeConfig, LearningConfig, ShadowConfig, SplitConfig
from router.learning.drift import Detector, noticed
from router.learning.offsets import Offsets, corrected, offset_table, overlaid, shifted
from router.learning.replay import TARGETS, replay
from router.learning.rule import DriftRule, LearningRule
from router.learning.state import Alarm, Learned, Learning, Lesson, Mark, Observation, observed, restored, taken_back

__all__ = [
    "TARGETS",
    "Alarm",
    "Detector",
    "DriftRule",
    "JudgeConfig",
    "Learned",
    "Learning",
    "LearningConfig",
    "LearningRule",
    "Lesson",
    "Mark",
    "Observation",
    "Offsets",
    "ShadowConfig",
    "SplitConfig",
    "corrected",
    "noticed",
    "observed",
    "offset_table",
    "overlaid",
    "replay",
    "restored",
    "shifted",
    "taken_back",
]
