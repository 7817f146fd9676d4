"""One request from question to answer. The file to read first.

decide   who should answer: the router, unless the client named an expert
plan     what to ask whom (pure)
answer   open the streams and start the fusion; nothing is sent before the first chunk is awaited
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from aggregator import Aggregator, FusionConfig
from aggregator.asking import as_chosen
from aggregator.config import AutoOptions
from aggregator.strategies.auto import SINGLE, Choice, by_kind, choose
from aggregator.types import Candidate, Chosen, FusedStream, FusionTask, Route
from experts.dispatcher import Dispatcher
from experts.profile import SkillProfile
from experts.registry import Registry, Snapshot
from experts.types import Endpoint, ExpertName, ExpertStream, Message
from gateway.continuing import can_be_continued, continued
from gateway.errors import InvalidRequest, PermissionDenied, UnknownModel
from gateway.latitude import Latitude, permits
from gateway.opinions import MeanExperts
from gateway.planning import (
    AUTO,
    CASCADE,
    NAMED,
    VIRTUAL_MODELS,
    VOTE,
    chosen,
    ignored_fields,
    named,
    plan,
    session_of,
    speaks,
    wants_several,
)
from gateway.schemas import ANY_EXPERT, ChatRequest
from gateway.sessions import Sessions
from gateway.tracing.context import CURRENT
from gateway.translate import to_query
from gateway.usage.meter import Meter
from router import Router
from router.errors import RoutingError
from router.types import Load, Query, RoutingDecision

ALONE = frozenset({"none", "self", SINGLE})
ALONE_ENDPOINT: Endpoint = "embeddings"
"""Where nobody stands in for an expert: vectors of two models cannot be compared."""
NOTHING_KNOWN: Mapping[int, ExpertStream] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Answering:
    """An answer under way: who was chosen, how it is fused, what of the request was left out, what it takes.

    `cache` says what became of a wish for an answer given before ("hit", "miss", "bypass"; None: there was none), and
    `age_seconds` how old a hit is.
    """

    decision: RoutingDecision
    fusion: Choice
    ignored: tuple[str, ...]
    stream: FusedStream
    meter: Meter
    cache: str | None = None
    age_seconds: float = 0.0


class Pipeline:
    """Join the rooms. Everything is borrowed from the application that builds it.

    `unfit` says which experts cannot serve right now and why; `default` is the generalist's name; `learned` lays
    over profiles what feedback taught; `policy` names the policy of an A/B arm, None for the configured one;
    `load` says what experts are doing now; `fusers` who was measured to fuse best what a decision is about, best
    first; `advice` what was measured to pay where answers cannot be compared, None where nothing was. It remembers
    the experts of sessions, and how many were lately needed.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        router: Router,
        dispatcher: Dispatcher,
        aggregator: Aggregator,
        fusion: FusionConfig,
        default: ExpertName,
        unfit: Callable[[], dict[ExpertName, str]],
        learned: Callable[[tuple[SkillProfile, ...]], tuple[SkillProfile, ...]] = lambda profiles: profiles,
        policy: Callable[[ChatRequest], str | None] = lambda _: None,
        load: Callable[[], Mapping[ExpertName, Load]] = dict,
        fusers: Callable[[RoutingDecision], tuple[ExpertName, ...]] = lambda _: (),
        advice: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.registry, self.router = registry, router
        self.dispatcher, self.aggregator = dispatcher, aggregator
        self.fusion, self.default, self.unfit = fusion, default, unfit
        self.fusers = fusers
        self.learned, self.policy, self.load, self.advice = learned, policy, load, advice
        self.sessions = Sessions(router.config.session_ttl_seconds)
        self.mean_experts = MeanExperts(router.config.mean_experts, router.config.max_experts)

    async def decide(self, request: ChatRequest, client: str = "") -> RoutingDecision:
        """Return who should answer a client's request; nothing is remembered of it.

        Raises:
            UnknownModel: `model` is neither virtual nor an expert.
            InvalidRequest: it is an expert that does not speak the endpoint.
            PermissionDenied: it is an expert that the client's key may not use.
            RoutingError: no expert may answer, or the policy does not exist.
        """
        snapshot = self.registry.snapshot
        if request.model in snapshot:
            return self._named(request, snapshot)
        if request.model not in VIRTUAL_MODELS:
            known = ", ".join([*VIRTUAL_MODELS, *(name for name in snapshot if self.permits(request, name))])
            raise UnknownModel(f"There is no model '{request.model}'; there are {known}.", param="model")
        query, profiles = self.question(request, client)
        return await self.router.route(query, profiles)

    def permits(self, request: ChatRequest, expert: ExpertName | None) -> bool:
        """Say whether the client's key may use an expert; one that nobody knows is nobody's."""
        known = None if expert is None else self.registry.snapshot.get(expert)
        return known is not None and permits(request.within, known.profile)

    def _named(self, request: ChatRequest, snapshot: Snapshot) -> RoutingDecision:
        if not self.permits(request, request.model):
            raise PermissionDenied(f"This key may not use the expert '{request.model}'.", param="model")
        if not speaks(snapshot, request.model, request):
            what = "chat" if request.relay is None else f"/v1/{request.endpoint}"
            raise InvalidRequest(f"The expert '{request.model}' does not speak {what}.", param="model")
        known = snapshot[request.model].profile.fallback if request.endpoint != ALONE_ENDPOINT else ()
        stand_ins = tuple(n for n in known if self.permits(request, n) and speaks(snapshot, n, request))
        return named(request.model, snapshot, stand_ins, request.options.thinking)

    def question(self, request: ChatRequest, client: str = "") -> tuple[Query, tuple[SkillProfile, ...]]:
        """Return what the router is asked, and about whom: profiles as measured, with what was learnt since.

        Experts that the client's key may not use are not even spoken of.
        """
        profiles = self.learned(self.registry.profiles)
        if request.within is not ANY_EXPERT:
            profiles = tuple(profile for profile in profiles if permits(request.within, profile))
        wanted = self._experts_wanted(request)
        query = to_query(request, profiles, {**self.unfit(), **self._mute(request.endpoint)}, wanted)
        cascade = CASCADE if request.options.fusion == CASCADE else None
        query = replace(
            query,
            policy=self.policy(request) or query.policy or cascade,
            load=self.load() if self._load_counts(request) else {},
            incumbent=self.sessions.incumbent(session_of(request, client)),
            staged=self.router.config.staged and wanted > 1 and VOTE == self._foreseen(request),
            seed=secrets.randbits(63),
            may_be_read=request.within is ANY_EXPERT or self.permits(request, self.router.config.llm.expert),
        )
        return self.mean_experts.limited(query), profiles

    def _mute(self, endpoint: Endpoint) -> dict[ExpertName, str]:
        """Return the experts whose servers were lately found not to speak an endpoint, with that as the reason."""
        if endpoint == "chat":
            return {}
        health, snapshot = self.dispatcher.health, self.registry.snapshot
        found = {n: [health.lacks(r.base_url, endpoint) for r in each.replicas] for n, each in snapshot.items()}
        mute = (name for name, lacking in found.items() if lacking and all(lacking))
        return dict.fromkeys(mute, f"its server does not speak /v1/{endpoint}")

    def _load_counts(self, request: ChatRequest) -> bool:
        """Say whether anybody looks at what experts are doing now; if not, the same question is decided once."""
        options = request.options
        return options.explain or options.max_latency_ms is not None or self.router.config.objective.latency_weight > 0

    def _experts_wanted(self, request: ChatRequest) -> int:
        """Return the most experts the request may get: its own word, else several for a council or a fusion."""
        options, routing = request.options, self.router.config
        if options.max_experts is not None:
            return options.max_experts
        if options.fusion in ALONE:
            return 1
        if CASCADE in (options.fusion, options.policy or routing.policy):
            return routing.cascade.cheap_first + 1
        several = wants_several(request) and self._foreseen(request) not in ALONE
        return min(self.fusion.max_experts, self.fusion.max_calls) if several else 1

    def fusion_of(self, request: ChatRequest, decision: RoutingDecision) -> Choice:
        """Return the strategy that will be used, and why.

        Raises:
            UnknownStrategy: the request names one that does not exist.
        """
        asked, alone = self._asked(request), len(decision.assignments) == 1
        if decision.fusion and (request.options.fusion is None or asked == AUTO):
            asked = decision.fusion
        strategy = self.aggregator.strategy(asked, len(decision.assignments)).name
        if alone and not wants_several(request):
            return Choice(SINGLE)
        if asked == AUTO:
            return choose(chosen(decision, {}), request.messages, request.parameters, self._auto())
        return Choice(strategy)

    def _asked(self, request: ChatRequest) -> str:
        return request.options.fusion or self.fusion.strategy

    def _foreseen(self, request: ChatRequest) -> str:
        """Return the strategy that will be used as far as the question tells; who answers may make it `single`."""
        asked = self._asked(request)
        return by_kind(request.messages, request.parameters, self._auto()).strategy if asked == AUTO else asked

    def _auto(self) -> AutoOptions:
        """Return what `auto` goes by: where the configuration does not say what open questions get, the advice does."""
        options = self.fusion.auto
        advised = None if "open" in options.model_fields_set else self.advice()
        return options if advised is None else options.model_copy(update={"open": advised})

    async def answer(self, request: ChatRequest, client: str = "") -> Answering:
        """Decide, plan and open the answer's stream; the caller reads it to the end or closes it.

        Experts that come or go meanwhile change nothing for it: it goes on in the world it began in.
        """
        world = self.registry.snapshot
        decision = await self.decide(request, client)
        if decision.policy != NAMED:
            self.sessions.answered(session_of(request, client), decision)
            self.mean_experts.decided(decision)
        return self.open(request, decision, world)

    def open(
        self,
        request: ChatRequest,
        decision: RoutingDecision,
        world: Snapshot,
        known: Mapping[int, ExpertStream] = NOTHING_KNOWN,
    ) -> Answering:
        """Plan and open the answer of a request that is decided; nothing is sent before it is read.

        Args:
            request: what is asked.
            decision: who should answer.
            world: the experts it was decided among.
            known: streams that take the place of calls, by rank among the assignments.
        """
        fusion = self.fusion_of(request, decision)
        streams = self._calls(request, decision, world, fusion.strategy)
        latitude = Latitude(request, self.fusion, self.registry, self.dispatcher, self.default)
        counted = [latitude.counted(known.get(i, stream)) for i, stream in enumerate(streams)]
        if self.router.config.continue_on_failure and fusion.strategy == SINGLE and can_be_continued(request):
            stand_ins = [name for name in (*decision.fallbacks, self.default) if latitude.allows(name)]
            counted = [continued(stream, stand_ins, latitude.ask) for stream in counted]
        candidates = tuple(
            Candidate(stream, who.weight, who.quality, who.domains)
            for stream, who in zip(counted, chosen(decision, world), strict=True)
        )
        task = self._fusion_task(request, candidates, decision, latitude, fusion.strategy)
        ignored = ignored_fields(request, decision, world)
        stream = traced(self.aggregator.fuse(task, fusion.strategy), decision)
        return Answering(decision, fusion, ignored, stream, latitude.meter)

    def calls(self, request: ChatRequest, decision: RoutingDecision, world: Snapshot) -> tuple[ExpertStream, ...]:
        """Return the (lazy) stream of each assigned expert, best first."""
        return self._calls(request, decision, world, self.fusion_of(request, decision).strategy)

    def _calls(
        self, request: ChatRequest, decision: RoutingDecision, world: Snapshot, fusion: str
    ) -> tuple[ExpertStream, ...]:
        turns = (len(decision.stages) or len(decision.assignments)) if fusion == CASCADE else 1
        return self.dispatcher.run(plan(decision, request, world, turns), world)

    def _fusion_task(
        self,
        request: ChatRequest,
        candidates: tuple[Candidate, ...],
        decision: RoutingDecision,
        latitude: Latitude,
        strategy: str,
    ) -> FusionTask:
        if strategy == SINGLE:  # nobody writes, nothing is waited for, no question comes up
            return FusionTask(candidates, request.messages, latitude.ask, request.parameters, config=self.fusion)
        writers = (self.fusion.fuser, *self.fusers(decision), self.default)
        return FusionTask(
            candidates=candidates,
            messages=request.messages,
            parameters=request.parameters,
            ask=latitude.ask,
            fuser=latitude.writer(*writers),
            limits=latitude.limits(),
            stages=decision.stages,
            config=self.fusion,
            route=self._route(request, candidates, latitude),
        )

    def _route(self, request: ChatRequest, candidates: tuple[Candidate, ...], latitude: Latitude) -> Route:
        """Return what routes a question that comes up while fusing, under the request's constraints.

        Such a question may hold what an expert said: the expert that reads unclear questions sees it only where the
        request allows that. Where nobody may answer it, those who were chosen for the request itself are returned.
        """
        reader = self.router.config.llm.expert

        async def route(messages: tuple[Message, ...]) -> tuple[Chosen, ...]:
            alone = request.options.model_copy(update={"fusion": None, "max_experts": 1})
            aside = replace(request, model=AUTO, messages=messages, options=alone, session=None)
            query, profiles = self.question(aside)
            query = replace(query, may_be_read=query.may_be_read and (reader is None or latitude.allows(reader)))
            try:
                decision = await self.router.route(query, profiles)
            except RoutingError:
                return tuple(as_chosen(candidate) for candidate in candidates)
            return chosen(decision, self.registry.snapshot)

        return route


def traced(stream: FusedStream, decision: RoutingDecision) -> FusedStream:
    """Return the answer as a part of the request's trace, where there is one; what was decided is noted there."""
    trace = CURRENT.get()
    if trace is None:
        return stream
    trace.routed(decision)
    return stream if stream.report.strategy == SINGLE else trace.fusing(stream)
