"""What has to be the same for an answer to be given again. Pure.

The key is a SHA-256 over: who asks (the key's id, and the experts it may use), the whole conversation, every parameter
that reaches an expert, the request's options, the decision (whom, by which policy, thinking or not; where answers are
fused, how heavy, with what expected quality, how and by whom) and the records of the experts that may have a part in
it. A routing that would now choose others, a record that was changed, or another configuration of the fusion is
another key: what was kept before is never found again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import orjson

from experts.registry import Snapshot
from experts.types import ExpertName
from gateway.schemas import ChatRequest
from router.types import RoutingDecision

SINGLE = "single"
FORMAT = 1
"""Of what is kept. Another one does not read what this one wrote."""
NOT_FOR_EXPERTS = frozenset({"stream_options"})
NOT_ABOUT_THE_ANSWER = {"cache", "explain", "priority", "deadline_ms", "first_token_ms", "idle_ms"}


def key_of(
    tenant: str,
    request: ChatRequest,
    decision: RoutingDecision,
    *,
    strategy: str,
    fusers: Iterable[ExpertName],
    records: Mapping[ExpertName, str],
    settings: str,
) -> str:
    """Return the key.

    Args:
        tenant: the id of the caller's key; nobody is ever given another's answer.
        strategy: how the answers are fused.
        fusers: who would write.
        records: fingerprints of the experts that may have a part.
        settings: fingerprint of what the configuration says about fusing.
    """
    asked = {
        "format": FORMAT,
        "tenant": tenant,
        "model": request.model,
        "messages": request.messages,
        "parameters": {key: value for key, value in request.parameters.items() if key not in NOT_FOR_EXPERTS},
        "options": request.options.model_dump(exclude=NOT_ABOUT_THE_ANSWER),
        "within": request.within.model_dump(),
        "chosen": chosen_of(decision, strategy),
        "decision": [decision.policy, decision.thinking, decision.stages, strategy, list(fusers)],
        "records": records,
        "settings": settings,
    }
    return fingerprint(asked)


def chosen_of(decision: RoutingDecision, strategy: str) -> list[tuple[Any, ...]]:
    """Return who was chosen; how heavy and how good each is believed to be only where answers are weighed.

    What one expert says alone does not change with every lesson that feedback teaches.
    """
    if strategy == SINGLE:
        return [(each.expert, each.thinking) for each in decision.assignments]
    qualities = {candidate.expert: candidate.quality for candidate in decision.candidates}
    return [
        (each.expert, each.thinking, _rounded(each.weight), _rounded(qualities.get(each.expert)))
        for each in decision.assignments
    ]


def concerned(decision: RoutingDecision, world: Snapshot, strategy: str) -> list[ExpertName]:
    """Return the experts that may have a part: those chosen and whose weights they run on; in a fusion anybody."""
    if strategy != SINGLE:
        return list(world)
    chosen = [each.expert for each in decision.assignments if each.expert in world]
    bases = [adapter.base for name in chosen if (adapter := world[name].config.adapter) is not None]
    return [*chosen, *bases]


def fingerprint(value: Any) -> str:
    """Return the hash of plain data; the order of an object's keys says nothing."""
    return sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)
