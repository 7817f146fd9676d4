"""The `experts:` section: what an operator writes about each expert, checked before anything starts.

pydantic because strangers write it: unknown keys are errors, and messages name the field. The same model
reads an expert that is registered over HTTP.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, model_validator

from experts.profile import Price, Skill, SkillProfile, ThinkingGain, ThinkingSwitch
from experts.types import Endpoint

ExpertNameField = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
MAX_ATTEMPTS = 3
"""Calls to servers that one call to an expert may become, stand-ins and hedges included."""
RESERVED_NAMES = frozenset({"auto", "council"})


class Strict(BaseModel):
    """A section in which a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ReplicaConfig(Strict):
    """One running server of an expert."""

    base_url: HttpUrl
    api_key: SecretStr = SecretStr("")
    weight: float = Field(default=1, gt=0)


class LaunchConfig(Strict):
    """A vLLM server that the gateway starts and supervises itself.

    `model` is a hub name or a folder; relative folders count from the configuration file. `replicas`, `cpus` and
    `resources` say where on a Ray cluster; on one machine there is one replica, and the others mean nothing.
    """

    model: str
    gpus: int = Field(default=1, ge=0)
    gpu_memory_gib: float | None = Field(default=None, gt=0)
    max_adapters: int | None = Field(default=None, ge=0)
    max_adapter_rank: int | None = Field(default=None, ge=1, le=512)
    args: list[str] = []
    env: dict[str, str] = {}
    start_timeout_seconds: float = Field(default=600, gt=0)
    sleep_after_seconds: float | None = Field(default=None, gt=0)
    replicas: int = Field(default=1, ge=1)
    cpus: float = Field(default=1, ge=0)
    resources: dict[str, float] = {}


class AdapterConfig(Strict):
    """LoRA weights served by another expert's server."""

    base: ExpertNameField
    path: str


class PriceConfig(Strict):
    """USD per million tokens."""

    input_per_million: float = Field(ge=0)
    output_per_million: float = Field(ge=0)


class LimitsConfig(Strict):
    """What one expert is allowed to take; every value is finite so that nothing hangs."""

    max_in_flight: int = Field(default=64, ge=1)
    max_queue: int = Field(default=256, ge=0)
    first_token_timeout_seconds: float = Field(default=30, gt=0)
    idle_timeout_seconds: float = Field(default=30, gt=0)
    timeout_seconds: float = Field(default=300, gt=0)


class HedgeConfig(Strict):
    """A second replica for the slowest calls: the first token of either is taken, the other call is cancelled.

    `share` of an expert's calls may be sent twice; they are those that wait longer than that share of the last ones
    did, or longer than `after_seconds` where that is set.
    """

    share: float = Field(default=0.02, gt=0, le=0.2)
    after_seconds: float | None = Field(default=None, gt=0)


class SkillConfig(Strict):
    """Measured skill written by hand or by a profiling run: accuracy 0..1 over `count` questions."""

    accuracy: float = Field(ge=0, le=1)
    count: int = Field(ge=1)


class ThinkingGainConfig(Strict):
    """What thinking added in one domain: accuracy on minus off over the same questions."""

    accuracy: float = Field(ge=-1, le=1)
    count: int = Field(ge=1)
    changed: float = Field(default=0.5, gt=0, le=1)


class ThinkingConfig(Strict):
    """An expert's thinking switch: body fields that turn it on and off, and where it was measured to pay."""

    on: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": True}}
    off: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
    gain: dict[str, ThinkingGainConfig] = {}
    token_factor: float = Field(default=4, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _yaml_says_true_for_on(cls, value: Any) -> Any:
        """YAML 1.1 reads the bare keys `on` and `off` as booleans."""
        names = {True: "on", False: "off"}
        if not isinstance(value, dict):
            return value
        return {names[key] if isinstance(key, bool) else key: each for key, each in value.items()}

    def switch(self) -> ThinkingSwitch:
        """Return the switch as the router sees it."""
        gain = {domain: ThinkingGain(**measured.model_dump()) for domain, measured in self.gain.items()}
        return ThinkingSwitch(self.on, self.off, gain, self.token_factor)


class ExpertConfig(Strict):
    """One expert: who it is, what it is for, and where it runs (replicas, launch or adapter: exactly one).

    `routed: false` keeps it out of routing: it answers when named, or as the fuser. `endpoints` says what its servers
    speak; None: not known, so that they are asked.
    """

    name: ExpertNameField
    description: str = ""
    domains: list[str] = []
    examples: list[str] = []
    backend: Literal["openai", "vllm"] = "openai"
    replicas: list[ReplicaConfig] = []
    launch: LaunchConfig | None = None
    adapter: AdapterConfig | None = None
    model: str | None = None
    context_window: int | None = Field(default=None, ge=1)
    modalities: list[Literal["text", "image", "audio", "video"]] = ["text"]
    capabilities: list[Literal["tools", "json_schema", "thinking"]] = []
    price: PriceConfig | None = None
    active_parameters_billions: float | None = Field(default=None, gt=0)
    output_tokens: float | None = Field(default=None, gt=0)
    latency_ms: float | None = Field(default=None, gt=0)
    thinking: ThinkingConfig | None = None
    tags: list[str] = []
    routed: bool = True
    limits: LimitsConfig = LimitsConfig()
    affinity: Literal["none", "session", "prefix"] = "none"
    hedge: HedgeConfig | None = None
    endpoints: list[Endpoint] | None = Field(default=None, min_length=1)
    fallback: list[str] = []
    skills: dict[str, SkillConfig] = {}

    @model_validator(mode="after")
    def _runs_in_exactly_one_place(self) -> Self:
        if self.name in RESERVED_NAMES:
            raise ValueError(f"'{self.name}' is a virtual model's name; call the expert something else")
        places = [place for place in ("replicas", "launch", "adapter") if getattr(self, place)]
        if len(places) != 1:
            found = " and ".join(places) or "none of them"
            raise ValueError(f"say where '{self.name}' runs: one of replicas, launch or adapter (found {found})")
        if self.launch and self.backend != "vllm":
            raise ValueError(f"'{self.name}' has launch: only backend: vllm can be started by the gateway")
        return self

    @property
    def thinking_switch(self) -> ThinkingSwitch | None:
        """Its thinking switch; the capability alone means the usual chat-template field."""
        if self.thinking is not None:
            return self.thinking.switch()
        return ThinkingConfig().switch() if "thinking" in self.capabilities else None

    @property
    def served_model(self) -> str:
        """The name the expert's server knows: `model`, or the expert's own name for servers we start."""
        return self.model or self.name

    def profile(self) -> SkillProfile:
        """Return the expert as the router sees it."""
        return SkillProfile(
            expert=self.name,
            domains=tuple(self.domains),
            description=self.description,
            examples=tuple(self.examples),
            measured={domain: Skill(skill.accuracy, skill.count) for domain, skill in self.skills.items()},
            price=Price(**self.price.model_dump()) if self.price else None,
            active_parameters_billions=self.active_parameters_billions,
            context_window=self.context_window,
            modalities=frozenset(self.modalities),
            capabilities=frozenset(self.capabilities),
            tags=frozenset(self.tags),
            fallback=tuple(self.fallback),
            output_tokens=self.output_tokens,
            latency_ms=self.latency_ms,
            thinking=self.thinking_switch,
            endpoints=None if self.endpoints is None else frozenset(self.endpoints),
        )


def resolve_folder(reference: str, root: Path) -> str:
    """Return the absolute folder when `reference` is one under `root`, else it as written (a hub name)."""
    folder = (root / reference).expanduser()
    return str(folder.resolve()) if folder.exists() else reference
