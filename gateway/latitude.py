"""What a fusion may do for one request: whom it may ask, until when, and for how much.

A client's word on experts (`routing.experts`) binds every call of a fusion, not only the candidates': what one
expert said may hold what another must not see. An expert outside of it is never sent anything, whoever names it.
What the client's key may use binds in the same way.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import replace

from aggregator import FusionConfig
from aggregator.budget import Budget
from aggregator.types import FusionLimits
from experts.dispatcher import Dispatcher
from experts.errors import CallRefused
from experts.profile import SkillProfile
from experts.registry import Registry
from experts.types import AnswerChunk, CallFacts, ExpertCall, ExpertName, ExpertStream, Usage
from gateway.schemas import ANY_EXPERT, ChatRequest, ExpertChoice
from gateway.tracing.context import CURRENT
from gateway.translate import USUAL_CHARACTERS_PER_TOKEN, estimated_tokens, for_expert, output_limit
from gateway.usage.meter import Meter
from router.conversation import message_text, modalities
from router.errors import NoEligibleExpert
from router.policies.eligibility import eligible
from router.types import Constraints

CANDIDATES_SHARE = 0.7
"""Of a request's deadline, what candidates may use; who writes gets the rest."""
USUAL_OUTPUT_TOKENS = 1000.0
"""What an answer is taken to have where neither the client nor a measurement says."""


class ListPrices:
    """Prices as the experts' records have them now; an expert without one costs nothing here."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def expected(self, call: ExpertCall) -> float:
        """Return what a call costs if its answer takes all the tokens it may have."""
        profile = self._profile(call.expert)
        if profile is None or profile.price is None:
            return 0.0
        read = sum(len(message_text(message)) for message in call.messages) / USUAL_CHARACTERS_PER_TOKEN
        written = output_limit(call.parameters) or profile.output_tokens or USUAL_OUTPUT_TOKENS
        choices = call.parameters.get("n")
        return profile.price.of(read, written * (choices if isinstance(choices, int) and choices > 1 else 1))

    def paid(self, expert: ExpertName, usage: Usage) -> float:
        """Return what an answer has cost."""
        profile = self._profile(expert)
        if profile is None or profile.price is None:
            return 0.0
        return profile.price.of(usage.prompt_tokens, usage.completion_tokens)

    def _profile(self, expert: ExpertName) -> SkillProfile | None:
        known = self._registry.snapshot.get(expert)
        return None if known is None else known.profile


class Latitude:
    """One request's. `budget` and `meter` are shared by its candidates and by everything asked through `ask`.

    Args:
        request: what is asked, with its constraints, deadline and priority.
        config: the caps.
        registry, dispatcher: whom there is to ask, and who asks them; borrowed.
        default: who stands in for an expert that fails.
    """

    def __init__(
        self,
        request: ChatRequest,
        config: FusionConfig,
        registry: Registry,
        dispatcher: Dispatcher,
        default: ExpertName,
    ) -> None:
        self.budget = Budget(config.max_calls, config.max_cost_usd, ListPrices(registry))
        self.meter = Meter()
        self._request, self._config = request, config
        self._registry, self._dispatcher, self._default = registry, dispatcher, default
        self._begun = time.monotonic()

    def limits(self) -> FusionLimits:
        """Return how long candidates are waited for."""
        config, options = self._config, self._request.options
        seconds, total = config.deadline_seconds, options.deadline_ms
        if total is not None:
            usual = total / 1000 if options.background else seconds
            seconds = min(usual, CANDIDATES_SHARE * total / 1000)
        return FusionLimits(config.quorum, seconds, config.arm_deadline_seconds, config.grace_seconds)

    def ask(self, call: ExpertCall) -> ExpertStream:
        """Open a call (lazy) that the fusion itself makes; the default expert stands in, where it is allowed.

        Its first chunk raises CallRefused when the budget is used up, or the expert is not one that the request allows.
        """
        if not self.allows(call.expert):
            return _refused(call)
        known, options = self._registry.snapshot.get(call.expert), self._request.options
        thinking = options.thinking if known is not None and known.profile.thinking is not None else "auto"
        asked = replace(
            call,
            parameters=call.parameters if known is None else for_expert(call.parameters, known.profile, thinking),
            deadline_seconds=self._left(),
            priority=options.priority,
            client=self._request.client,
            share=self._request.share,
        )
        stand_ins = (self._default,) if self.allows(self._default) else ()
        return self.counted(self._dispatcher.open(asked, stand_ins))

    def counted(self, stream: ExpertStream) -> ExpertStream:
        """Return the same answer as a stream that is within the budget, metered, and traced where requests are."""
        if (trace := CURRENT.get()) is not None:
            stream = trace.call(stream)
        return self.meter.read(self.budget.counted(stream))

    def allows(self, expert: ExpertName) -> bool:
        """Say whether the request lets this expert see anything at all; one that nobody knows sees nothing anyway."""
        profile = self._profile(expert)
        return permits(self._request.options.experts, profile) and permits(self._request.within, profile)

    def writer(self, *wanted: ExpertName | None) -> ExpertName | None:
        """Return the first of these who may read the conversation and its answers and can; None when nobody."""
        needed = Constraints(
            modalities=modalities(self._request.messages),
            min_context_tokens=estimated_tokens(self._request),
            endpoint="chat",
        )
        fit = (name for name in wanted if name is not None and self.allows(name))
        return next((name for name in fit if self._satisfies(name, needed)), None)

    def _satisfies(self, expert: ExpertName, constraints: Constraints) -> bool:
        return satisfies(self._profile(expert), constraints)

    def _profile(self, expert: ExpertName) -> SkillProfile:
        known = self._registry.snapshot.get(expert)
        return SkillProfile(expert) if known is None else known.profile

    def _left(self) -> float | None:
        """Return the seconds that are left of the request's own deadline."""
        total = self._request.options.deadline_ms
        return None if total is None else max(0.001, total / 1000 - (time.monotonic() - self._begun))


def permits(choice: ExpertChoice, profile: SkillProfile) -> bool:
    """Say whether an expert is one of those chosen."""
    if choice is ANY_EXPERT:
        return True
    allow, deny, tags = frozenset(choice.allow), frozenset(choice.deny), frozenset(choice.require_tags)
    return satisfies(profile, Constraints(allow, deny, tags, modalities=frozenset()))


def satisfies(profile: SkillProfile, constraints: Constraints) -> bool:
    """Say whether an expert satisfies hard constraints."""
    try:
        eligible((profile,), constraints)
    except NoEligibleExpert:
        return False
    return True


def _refused(call: ExpertCall) -> ExpertStream:
    nothing: tuple[AnswerChunk, ...] = ()

    async def chunks(_: CallFacts) -> AsyncGenerator[AnswerChunk, None]:
        for chunk in nothing:
            yield chunk
        raise CallRefused(call.expert, f"Expert '{call.expert}' is not one that the request allows to be asked.")

    return ExpertStream(call, chunks)
