"""The `routing:` section: how queries are read and experts chosen, checked before anything starts."""

from __future__ import annotations

from pydantic import Field

from experts.config import Strict
from router.learning.config import LearningConfig, ShadowConfig, SplitConfig

DEFAULT_ENCODER = "all-MiniLM-L6-v2"


class EncoderConfig(Strict):
    """The sentence encoder that turns text into vectors."""

    model: str = Field(default=DEFAULT_ENCODER, description="A sentence-transformers name, or a folder.")
    runtime: str = Field(
        default="auto",
        description="`openvino` (plain BERT models, no torch), `torch` (all of sentence-transformers), or `auto`: "
        "openvino where it can.",
    )
    precision: str = Field(
        default="auto",
        description="How openvino multiplies: `bfloat16`, `float32`, `int8` (a third faster, cosines to float32 of "
        "0.999 on average), or `auto`: int8 on x86 where the processor multiplies bfloat16 too, bfloat16 on others "
        "that do, else float32. Torch keeps to float32.",
    )
    adapter: str | None = Field(
        default=None, description="Folder of a fitted head whose adapter.safetensors changes the encoder's weights."
    )
    threads: int = Field(default=2, ge=1, description="CPU threads one batch may use.")
    max_batch: int = Field(default=16, ge=1, description="Texts encoded together at most.")
    max_wait_ms: float = Field(
        default=0,
        ge=0,
        description="How long the first text of a batch waits for company; without waiting, batches form while the "
        "encoder is busy.",
    )
    cache_size: int = Field(default=10_000, ge=0, description="Vectors kept by text, least recent out first.")


class DomainConfig(Strict):
    """A domain of your own, known by examples only; a name of the taxonomy adds to that domain."""

    examples: list[str] = Field(default=[], description="Questions of this domain; six to ten work well.")
    description: str = Field(default="", description="What the domain is about, in a sentence.")
    group: str | None = Field(default=None, description="A group it belongs to; experts may declare the group's name.")


class ObjectiveConfig(Strict):
    """What cost and time are worth where a request does not say."""

    cost_quality: float = Field(
        default=1, ge=0, le=1, description="0 = cheapest acceptable expert, 1 = best regardless of cost."
    )
    acceptable: float = Field(
        default=0.7, ge=0, le=1, description="Share of the best expert's quality that is still acceptable."
    )
    latency_weight: float = Field(default=0, ge=0, description="Quality that a second of waiting costs.")
    usual_output_tokens: float = Field(
        default=256, gt=0, description="Expected length of an answer of an expert without `output_tokens`."
    )
    usd_per_billion_parameters: float = Field(
        default=0.01,
        ge=0,
        description="Price per million tokens and billion active parameters of experts without a price.",
    )


class CascadeConfig(Strict):
    """The policy `cascade`: cheap experts first, the strong one where their answer looks weak."""

    judge_error: float = Field(
        default=0.2, ge=0, le=0.5, description="How often the check of an answer is assumed to be wrong."
    )
    cheap_first: int = Field(
        default=1, ge=1, le=8, description="Cheap experts asked first; two or more must agree, else the strong one."
    )


class LlmConfig(Strict):
    """An expert that reads a query when the encoder is unsure: domains, skills, difficulty."""

    expert: str | None = Field(default=None, description="Who reads; none: nobody.")
    below: float = Field(default=0.4, ge=0, le=1, description="It is asked when the confidence is below this.")
    alpha: float = Field(default=0.5, ge=0, le=1, description="Weight of what it says; 0: the encoder alone.")
    task_alpha: float = Field(
        default=0,
        ge=0,
        le=1,
        description="Weight of what it says about a system prompt, read once and kept; 0: never read.",
    )
    deadline_ms: float = Field(default=1500, gt=0, description="Time it may take before routing goes on without.")
    cache_size: int = Field(default=2048, ge=0, description="Readings kept, least recent out first.")


class RoutingConfig(Strict):
    """How the router decides."""

    policy: str = Field(
        default="auto",
        description="Routing policy used when a request names none. `auto`: the fitted combination where the "
        "artifact knows some of the experts, else `profile`.",
    )
    classifier: str = Field(
        default="auto",
        description="`linear` (the fitted head), `centroid` (examples only), or `auto`: linear when the head "
        "knows every domain the experts declare, else centroid.",
    )
    default: str | None = Field(
        default=None, description="The expert that answers when routing is unsure, slow or broken."
    )
    encoder: EncoderConfig = Field(default=EncoderConfig(), description="The sentence encoder.")
    artifact: str | None = Field(
        default=None, description="Folder of a fitted head (`consilium router train`); none: the shipped one."
    )
    domains: dict[str, DomainConfig] = Field(default={}, description="Domains of your own, by examples.")
    fallback_confidence: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="The default expert answers unless it is at least this probable that the chosen one is "
        "better, and that the question belongs to any known domain at all (familiarity).",
    )
    budget_ms: float = Field(
        default=250, gt=0, description="Time classification may take before the default expert answers."
    )
    max_experts: int = Field(default=3, ge=1, description="Most experts one request may be sent to.")
    mean_experts: float | None = Field(
        default=None,
        ge=1,
        description="Mean number of experts of requests that want several; the doubtful ones get more. "
        "None: as many as the request allows.",
    )
    staged: bool = Field(
        default=True, description="A vote asks first as many as could settle it, others only while they can change it."
    )
    continue_on_failure: bool = Field(
        default=False,
        description="A streamed text that breaks off is continued by another expert, and the stream says so.",
    )
    objective: ObjectiveConfig = Field(default=ObjectiveConfig(), description="Quality against cost and time.")
    cascade: CascadeConfig = Field(default=CascadeConfig(), description="The policy `cascade`.")
    llm: LlmConfig = Field(default=LlmConfig(), description="An expert that reads unclear queries.")
    stickiness: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="A session keeps its expert while its topic stays and nobody's quality is higher by more.",
    )
    session_ttl_seconds: float = Field(default=3600, gt=0, description="How long an idle session is remembered.")
    forgetting: float = Field(
        default=0.4,
        ge=0,
        le=1,
        description="Chance that a conversation changes its topic between two messages: 0 never leaves the "
        "first topic lightly, 1 reads the last message alone.",
    )
    learning: LearningConfig = Field(default=LearningConfig(), description="How feedback changes the routing.")
    shadow: ShadowConfig = Field(default=ShadowConfig(), description="A second policy that decides without acting.")
    split: SplitConfig = Field(default=SplitConfig(), description="An A/B test of two policies.")
