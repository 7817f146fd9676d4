"""The `fusion:` section: limits that hold for every strategy, and a part for each strategy that has settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from experts.config import Strict


class CascadeOptions(Strict):
    """`cascade`: how an answer is checked before a stronger expert is asked.

    Whatever the `verifier`, an answer that looks weak is not kept. `samples` (the answer itself included) at
    `temperature` and the share `min_agreement` of them are for `self_consistency`, the mean `min_logprob` of an
    answer's tokens for `logprob`; `judge`, the expert asked (None: the fuser), its `min_probability` of yes and its
    `judge_tokens` for `judge`.
    """

    verifier: Literal["agreement", "judge", "logprob", "self_consistency", "signs"] = "signs"
    samples: int = Field(default=3, ge=2, le=16)
    temperature: float = Field(default=0.7, gt=0, le=2)
    min_agreement: float = Field(default=0.6, gt=0, le=1)
    min_logprob: float = Field(default=-0.3, le=0)
    judge: str | None = None
    min_probability: float = Field(default=0.5, ge=0, le=1)
    judge_tokens: int = Field(default=16, ge=1, le=4096)


class SelfOptions(Strict):
    """`self`: samples of one expert. `temperature` is used unless the client set one."""

    samples: int = Field(default=3, ge=2, le=16)
    temperature: float = Field(default=0.7, gt=0, le=2)


class SynthesizeOptions(Strict):
    """`synthesize`: `layers` above 1 let every expert rewrite its answer after reading all, before the fuser does.

    `adopt`: whether a fuser that writes only an expert's name and a colon adopts that expert's answer: `named`, it
    does; `told`, it is also told so; `never`.
    """

    layers: int = Field(default=1, ge=1, le=4)
    adopt: Literal["named", "told", "never"] = "named"


class RankOptions(Strict):
    """`rank`: up to `pairs_up_to` candidates every pair is compared, in both orders; more are listed together."""

    pairs_up_to: int = Field(default=4, ge=2, le=8)


class RefineOptions(Strict):
    """`refine`: how often the primary revises its answer."""

    rounds: int = Field(default=1, ge=1, le=4)


class KnowledgeOptions(Strict):
    """`knowledge`: what background texts may be like to be shown to the one who answers.

    `max_words` bounds each text, `min_relevance` (0..1) how much it must speak of the question, `budget_tokens` all
    of them together, as estimated at three bytes a token.
    """

    max_words: int = Field(default=120, ge=10, le=2000)
    min_relevance: float = Field(default=0.1, ge=0, le=1)
    budget_tokens: int = Field(default=800, ge=16)


class RoleConfig(Strict):
    """One seat of a panel: `instructions` tell the expert what to look at; `expert` None seats the next candidate."""

    name: str
    instructions: str
    expert: str | None = None


class PanelOptions(Strict):
    """`panel`: fixed roles; without any, each candidate speaks for its own domains."""

    roles: tuple[RoleConfig, ...] = ()


class DecomposeOptions(Strict):
    """`decompose`: bounds of the plan. `planner` is the expert that splits questions; None means the fuser.

    `max_depth` is how many sub-questions may wait for one another, the first and the last counted. `answer_line`
    tells experts to end with a line "Answer: ...", which later questions are given; for experts that mind system
    messages it is False.
    """

    planner: str | None = None
    max_steps: int = Field(default=4, ge=2, le=16)
    max_depth: int = Field(default=3, ge=1, le=16)
    answer_line: bool = True


class AutoOptions(Strict):
    """`auto`: which strategy for questions with an answer that can be compared, and which for all others.

    Where `open` is not written down, the fuser benchmark's advice stands in its place.
    """

    closed: str = "vote"
    open: str = "single"


class FusionConfig(Strict):
    """How several answers become one.

    `strategy` is used for `council` and wherever a request asks for several experts without naming one.
    `fuser` is the expert that writes fused answers; None means the default expert. Candidates are waited for until
    `deadline_seconds`, each of them no longer than `arm_deadline_seconds`, and no longer than `grace_seconds` after
    `quorum` of them have answered; None sets neither of the latter two. `max_calls` and `max_cost_usd`
    bound what one request may ask of experts, whatever the strategy. `run_code` compares code by what it returns:
    it runs what models wrote, in a subprocess with limits, which is no isolation.
    """

    strategy: str = "auto"
    fuser: str | None = None
    quorum: int = Field(default=1, ge=1)
    deadline_seconds: float = Field(default=60, gt=0)
    arm_deadline_seconds: float | None = Field(default=None, gt=0)
    grace_seconds: float | None = Field(default=None, ge=0)
    max_experts: int = Field(default=3, ge=1, le=16)
    max_calls: int = Field(default=16, ge=1, le=256)
    max_cost_usd: float | None = Field(default=None, gt=0)
    run_code: bool = False
    auto: AutoOptions = AutoOptions()
    cascade: CascadeOptions = CascadeOptions()
    decompose: DecomposeOptions = DecomposeOptions()
    knowledge: KnowledgeOptions = KnowledgeOptions()
    panel: PanelOptions = PanelOptions()
    rank: RankOptions = RankOptions()
    refine: RefineOptions = RefineOptions()
    sampling: SelfOptions = SelfOptions()
    synthesize: SynthesizeOptions = SynthesizeOptions()

    def experts(self) -> dict[str, str]:
        """Return the experts that are named here, by the key that names them."""
        named = {
            "fusion.fuser": self.fuser,
            "fusion.cascade.judge": self.cascade.judge,
            "fusion.decompose.planner": self.decompose.planner,
            **{f"fusion.panel.roles.{role.name}": role.expert for role in self.panel.roles},
        }
        return {key: name for key, name in named.items() if name is not None}
