"""Policies: domain scores and skill profiles -> who should answer. One file a policy, one line in the table."""

from __future__ import annotations

from router.policies.base import Policy, PolicyContext
from router.policies.cascade import CascadePolicy
from router.policies.fixed import FixedPolicy
from router.policies.llm import LlmPolicy
from router.policies.profile import ProfilePolicy
from router.policies.random import RandomPolicy
from router.policies.uniform import UniformPolicy

__all__ = ["POLICIES", "Policy", "PolicyContext"]

POLICIES: dict[str, Policy] = {
    "cascade": CascadePolicy(),
    "fixed": FixedPolicy(),
    "llm": LlmPolicy(),
    "profile": ProfilePolicy(),
    "random": RandomPolicy(),
    "uniform": UniformPolicy(),
}
