"""The `routing:` section: how queries are read and experts chosen, checked before anything starts."""

from __future__ import annotations

from pydantic import Field

from experts.config import Strict

DEFAULT_ENCODER = "all-MiniLM-L6-v2"


class EncoderConfig(Strict):
    """The sentence encoder that turns text into vectors."""

    model: str = Field(default=DEFAULT_ENCODER, description="A sentence-transformers name, or a folder.")
    threads: int = Field(default=1, ge=1, description="CPU threads one batch may use.")
    max_batch: int = Field(default=32, ge=1, description="Texts encoded together at most.")
    max_wait_ms: float = Field(default=2, ge=0, description="How long the first text of a batch waits for company.")
    cache_size: int = Field(default=10_000, ge=0, description="Vectors kept by text, least recent out first.")


class DomainConfig(Strict):
    """A domain of your own, known by examples only; a name of the taxonomy adds to that domain."""

    examples: list[str] = Field(default=[], description="Questions of this domain; six to ten work well.")
    description: str = Field(default="", description="What the domain is about, in a sentence.")
    group: str | None = Field(default=None, description="A group it belongs to; experts may declare the group's name.")


class RoutingConfig(Strict):
    """How the router decides."""

    policy: str = Field(default="profile", description="Routing policy used when a request names none, or `auto`.")
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
        "better; also when the question looks like nothing the classifier knows (familiarity below a third).",
    )
    budget_ms: float = Field(
        default=250, gt=0, description="Time classification may take before the default expert answers."
    )
    max_experts: int = Field(default=3, ge=1, description="Most experts one request may be sent to.")
    forgetting: float = Field(
        default=0.4,
        ge=0,
        le=1,
        description="Chance that a conversation changes its topic between two messages: 0 never leaves the "
        "first topic lightly, 1 reads the last message alone.",
    )
