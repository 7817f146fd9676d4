"""What a decision becomes: calls, candidates as the aggregator speaks of them, and what is left out. Pure."""

from __future__ import annotations

from functools import lru_cache

from aggregator.types import Chosen
from experts.registry import Snapshot
from experts.types import Dispatch, ExpertCall, ExpertName
from gateway.schemas import ChatRequest
from gateway.sessions import Session
from gateway.translate import TOOL_FIELDS, for_expert
from router.types import Assignment, RoutingDecision, Thinking

AUTO, COUNCIL = "auto", "council"
NAMED, CASCADE, VOTE = "named", "cascade", "vote"
VIRTUAL_MODELS = {
    AUTO: "The router picks the expert for each conversation.",
    COUNCIL: "The router picks several experts and their answers are fused into one.",
}


def session_of(request: ChatRequest, client: str) -> Session | None:
    """Return the session that a client's request belongs to, or None."""
    return None if request.session is None else (client, request.session)


def wants_several(request: ChatRequest) -> bool:
    """Say whether a client asks for several experts' answers, if they are worth it."""
    return request.model == COUNCIL or request.options.fusion is not None


def named(
    expert: ExpertName, snapshot: Snapshot, stand_ins: tuple[ExpertName, ...], thinking: Thinking = "auto"
) -> RoutingDecision:
    """Return the decision of a client who named the expert: no routing, those of its own fallbacks that may answer."""
    return _named(expert, stand_ins, "auto" if snapshot[expert].profile.thinking is None else thinking)


@lru_cache(1024)
def _named(expert: ExpertName, stand_ins: tuple[ExpertName, ...], mode: Thinking) -> RoutingDecision:
    return RoutingDecision(
        assignments=(Assignment(expert, 1.0, mode),),
        policy=NAMED,
        confidence=1.0,
        fallbacks=stand_ins,
        thinking=mode,
        reason=f"the request names {expert}",
    )


def speaks(snapshot: Snapshot, expert: ExpertName, request: ChatRequest) -> bool:
    """Say whether an expert may be asked at the request's endpoint, as far as its record says."""
    return expert in snapshot and snapshot[expert].profile.speaks(request.endpoint)


def plan(decision: RoutingDecision, request: ChatRequest, snapshot: Snapshot, turns: int = 1) -> Dispatch:
    """Return the calls a decision becomes; calls that come in `turns`, one after the other, share the deadline."""
    deadline, first_token, idle = (
        None if ms is None else ms / 1000
        for ms in (request.options.deadline_ms, request.options.first_token_ms, request.options.idle_ms)
    )
    calls = tuple(
        ExpertCall(
            expert=assignment.expert,
            messages=request.messages,
            parameters=for_expert(request.parameters, snapshot[assignment.expert].profile, assignment.thinking),
            deadline_seconds=None if deadline is None else deadline / turns,
            first_token_seconds=first_token,
            idle_seconds=idle,
            priority=request.options.priority,
            client=request.client,
            share=request.share,
            session=request.session or "",
            joined=not request.stream,
            relay=request.relay,
        )
        for assignment in decision.assignments
    )
    return Dispatch(calls, tuple(name for name in decision.fallbacks if name in snapshot))


def chosen(decision: RoutingDecision, snapshot: Snapshot) -> tuple[Chosen, ...]:
    """Return the assigned experts as the aggregator speaks of them, each with what the router expects of it.

    One that has left since it was assigned is still named; asking it fails, or its stand-in answers.
    """
    expected = {candidate.expert: candidate.quality for candidate in decision.candidates}
    known = {who.expert: snapshot.get(who.expert) for who in decision.assignments}
    domains = {name: () if expert is None else expert.profile.domains for name, expert in known.items()}
    return tuple(
        Chosen(who.expert, who.weight, expected.get(who.expert), domains[who.expert]) for who in decision.assignments
    )


def ignored_fields(request: ChatRequest, decision: RoutingDecision, snapshot: Snapshot) -> tuple[str, ...]:
    """Return what the request asked for that nobody will act on, so that the client is told."""
    if request.relay is not None:  # the body goes as it is: nothing comes in, nothing is left out
        options = request.options
        asked = {"explain": options.explain, "thinking": options.thinking != "auto", "cache": options.cache is not None}
        return tuple(f"routing.{name}" for name, wanted in asked.items() if wanted)
    primary = snapshot[decision.assignments[0].expert].profile
    dropped = set() if "tools" in primary.capabilities else {f for f in TOOL_FIELDS if request.parameters.get(f)}
    return tuple(sorted(dropped))
