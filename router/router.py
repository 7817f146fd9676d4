"""Say who should answer a query: encode, classify, decide.

Routing fails open: whatever is slow or broken in it, the default expert answers, and the decision says why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from experts.errors import ConfigError
from experts.profile import SkillProfile
from router.classifiers import Classifier, Ground, build_classifier
from router.config import RoutingConfig
from router.encoder import Encoder, TextEncoder
from router.encoder.runtimes import encoder_name
from router.errors import ClassifierUnavailable, UnknownPolicy
from router.fitted import artifact_policies
from router.policies import POLICIES, Policy, PolicyContext
from router.policies.cascade import CascadePolicy
from router.policies.eligibility import eligible
from router.policies.objective import Economy, dearest_price
from router.reading import Ask, Reader
from router.recall import Recall
from router.taxonomy import DomainEntry, Taxonomy, default_taxonomy
from router.types import DomainScores, Query, RoutingDecision

AUTO = "auto"
USUAL_POLICY = "profile"
REMEMBERED = 2_000
"""Conversations whose decision is kept, in case the same is asked again."""


class Router:
    """Decides; acts on nothing. Immutable: when experts change, `with_profiles` returns its successor.

    `Router.create` builds one from the configuration. Whoever created the first one closes it (`aclose`);
    successors share its encoder.

    Args:
        classifier: what says which domains a query is about.
        context: what every policy may know.
        config: budget and usual policy.
        policies: by name, fitted ones included.
        encoder: shared by classifiers; closed with the router.
        reader: asks an expert about queries that the classifier is unsure of; None: nobody is asked.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        config: RoutingConfig,
        context: PolicyContext,
        policies: Mapping[str, Policy] = POLICIES,
        encoder: TextEncoder | None = None,
        reader: Reader | None = None,
    ) -> None:
        self.classifier = classifier
        self.config = config
        self.context = context
        self.policies = policies
        self.encoder = encoder
        self.reader = reader
        self._recall = Recall(REMEMBERED)

    @classmethod
    async def create(
        cls,
        config: RoutingConfig,
        profiles: Sequence[SkillProfile],
        *,
        encoder: TextEncoder | None = None,
        fitted: Mapping[str, Policy] | None = None,
        ask: Ask | None = None,
    ) -> Router:
        """Build a router for these experts; without `encoder` the configured one is loaded and warmed up.

        Args:
            fitted: policies beside the table's; those of `routing.artifact` unless given.
            ask: reaches the expert that reads unclear queries (`routing.llm`).

        Raises:
            ConfigError: unknown policy, classifier or encoder, or an artifact that does not fit.
        """
        policies = {**POLICIES, **(_fitted(config, encoder) if fitted is None else fitted)}
        if AUTO in policies:
            policies["cascade"] = CascadePolicy(policies[AUTO])
        if config.policy != AUTO and config.policy not in policies:
            raise ConfigError(
                f"routing.policy: there is no '{config.policy}'; choose one of auto, {', '.join(policies)}."
            )
        threadpool_limits(1, user_api="blas")  # heads are small: a second BLAS thread spins in the encoder's way
        if encoder is None:
            encoder = Encoder(config.encoder)
            await encoder.warm_up()
        reader = None if ask is None else Reader(ask, config.llm)
        return await cls._build(config, profiles, encoder, policies, reader)

    @classmethod
    async def _build(
        cls,
        config: RoutingConfig,
        profiles: Sequence[SkillProfile],
        encoder: TextEncoder,
        policies: Mapping[str, Policy],
        reader: Reader | None,
    ) -> Router:
        taxonomy = configured_taxonomy(config)
        classifier = await build_classifier(Ground(config, encoder, taxonomy, profiles))
        context = policy_context(config, profiles, taxonomy)
        return cls(classifier, config=config, context=context, policies=policies, encoder=encoder, reader=reader)

    async def with_profiles(self, profiles: Sequence[SkillProfile]) -> Router:
        """Return a router whose classifier knows these experts' domains and examples.

        Until it is swapped in, this one goes on and accepts the new experts too: policies read the profiles
        of each call. Only texts that are new are encoded.
        """
        if self.encoder is None:
            return self
        return await self._build(self.config, profiles, self.encoder, self.policies, self.reader)

    async def route(self, query: Query, profiles: Sequence[SkillProfile]) -> RoutingDecision:
        """Return who should answer, within the configured budget.

        Raises:
            NoEligibleExpert: nobody satisfies the query's constraints.
            UnknownPolicy: the query names a policy that does not exist.
        """
        begun = time.perf_counter()
        key = self._recall.key(query)
        if (known := self._recall.decision(key, query, profiles)) is not None:
            return _timed(known, DomainScores({}), begun)
        name = self._policy_name(query, profiles)
        policy = self._policy(name)
        fit, _ = eligible(profiles, query.constraints)
        if not policy.reads_scores:
            decision = policy.decide(query, DomainScores({}), profiles, self.context)
            return _timed(decision, DomainScores({}), begun)
        if len(fit) == 1 and not _thinks_by_domain(fit[0], query):
            return self._without_scores(query, profiles, begun, name, f"only {fit[0].expert} is eligible", 1.0)
        try:
            scores = self._recall.scores(key) or await self._classify(query)
        except ClassifierUnavailable as error:
            decision = self._without_scores(query, profiles, begun, name, f"routing failed open: {error}", 0.0)
            return replace(decision, failed_open=error.cause)
        self._recall.keep_scores(key, scores)
        if self.reader is not None and query.may_be_read:
            scores = await self.reader.refine(query, scores, wanted=getattr(policy, "wants_a_reading", False))
        decision = replace(policy.decide(query, scores, profiles, self.context), vector=scores.vector)
        if self.reader is None:
            self._recall.keep_decision(key, query, profiles, decision)
        return _timed(decision, scores, begun)

    async def aclose(self) -> None:
        """Close the encoder, when there is one to close."""
        if isinstance(self.encoder, Encoder):
            await self.encoder.aclose()

    async def __aenter__(self) -> Router:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _policy_name(self, query: Query, profiles: Sequence[SkillProfile]) -> str:
        """Return the policy asked for; `auto` is the fitted one where it knows some of these experts."""
        asked = query.policy if query.policy not in (None, AUTO) else self.config.policy
        if asked not in (None, AUTO):
            return asked
        known = getattr(self.policies.get(AUTO), "experts", ())
        return AUTO if any(profile.expert in known for profile in profiles) else USUAL_POLICY

    def _policy(self, name: str) -> Policy:
        """Return a policy.

        Raises:
            UnknownPolicy: there is none of that name; the error lists those that exist.
        """
        if name not in self.policies:
            raise UnknownPolicy(name, {AUTO, *self.policies})
        return self.policies[name]

    async def _classify(self, query: Query) -> DomainScores:
        """Classify within the budget.

        Raises:
            ClassifierUnavailable: it broke, or took too long.
        """
        try:
            async with asyncio.timeout(self.config.budget_ms / 1000):
                return await self.classifier.classify(query)
        except TimeoutError:
            budget = f"{self.config.budget_ms:g} ms"
            raise ClassifierUnavailable(f"classification took longer than {budget}", cause="slow") from None

    def _without_scores(
        self,
        query: Query,
        profiles: Sequence[SkillProfile],
        begun: float,
        policy: str,
        reason: str,
        confidence: float,
    ) -> RoutingDecision:
        """Let the default expert answer, or the first eligible one, under the name of the policy asked for.

        A conversation that has an expert keeps it: nothing is known that speaks against that.
        """
        last = query.incumbent
        kept = None if last is None or last.policy != policy else replace(last, policy="fixed", domain=None)
        alone = replace(query, max_experts=1, top_p=None, incumbent=kept)
        decision = POLICIES["fixed"].decide(alone, DomainScores({}), profiles, self.context)
        decision = replace(decision, policy=policy, reason=reason, confidence=confidence)
        return _timed(decision, DomainScores({}), begun)


def policy_context(config: RoutingConfig, profiles: Sequence[SkillProfile], taxonomy: Taxonomy) -> PolicyContext:
    """Return what every policy may know; the dearest of these experts is what costs are compared with."""
    economy = Economy(**config.objective.model_dump())
    return PolicyContext(
        default=config.default,
        fallback_confidence=config.fallback_confidence,
        max_experts=config.max_experts,
        taxonomy=taxonomy,
        economy=replace(economy, dearest=dearest_price(profiles, economy)),
        stickiness=config.stickiness,
        judge_error=config.cascade.judge_error,
        cheap_first=config.cascade.cheap_first,
    )


def _thinks_by_domain(profile: SkillProfile, query: Query) -> bool:
    """Say whether the only expert's thinking mode still depends on what the query is about."""
    return query.thinking == "auto" and profile.thinking is not None and bool(profile.thinking.gain)


def _fitted(config: RoutingConfig, encoder: TextEncoder | None) -> dict[str, Policy]:
    """Return the policies of the configured artifact."""
    if not config.artifact:
        return {}
    name = encoder.name if encoder is not None else encoder_name(config.encoder)
    return artifact_policies(Path(config.artifact).expanduser(), name)


def configured_taxonomy(config: RoutingConfig) -> Taxonomy:
    """Return the default taxonomy together with the operator's own domains."""
    taxonomy = default_taxonomy()
    for name, domain in config.domains.items():
        entry = DomainEntry(name, domain.description, tuple(domain.examples))
        taxonomy = taxonomy.with_domain(entry, domain.group)
    return taxonomy


def _timed(decision: RoutingDecision, scores: DomainScores, begun: float) -> RoutingDecision:
    """Write the time of each step into the decision; deciding is what encoding and classifying leave."""
    total = 1000 * (time.perf_counter() - begun)
    timings = {"encode": scores.encode_ms, "classify": scores.classify_ms}
    if scores.read_ms:
        timings["read"] = scores.read_ms
    timings["decide"] = max(0.0, total - sum(timings.values()))
    return replace(decision, timings_ms=timings)
