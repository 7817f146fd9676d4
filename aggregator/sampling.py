"""Ask the same expert the same question again: further samples of its answer, each with a seed of its own.

Shared by `self`, which makes one answer of the samples, and by the cascade's check whether they agree.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from aggregator.types import Candidate, FusionTask
from experts.types import ExpertName

SEEDS = 2**31 - 1


def sampled(
    task: FusionTask, candidate: Candidate, count: int, temperature: float, expert: ExpertName | None = None
) -> list[Candidate]:
    """Return that many more (lazy) answers to a candidate's call, one choice each.

    Args:
        temperature: used unless the client set one.
        expert: who answers; the call's own expert unless somebody stood in for it.
    """
    call = candidate.stream.call
    first = call.parameters.get("seed")
    seed = first if isinstance(first, int) else secrets.randbelow(SEEDS)
    kept = {key: value for key, value in call.parameters.items() if key != "n" and value is not None}
    found = []
    for place in range(1, count + 1):
        parameters = {"temperature": temperature, **kept, "seed": (seed + place) % SEEDS}
        again = replace(call, expert=expert or call.expert, parameters=parameters)
        found.append(replace(candidate, stream=task.ask(again)))
    return found


def samples_differ(candidate: Candidate) -> bool:
    """Say whether asking again can give another answer: not at the temperature 0 that a client asked for."""
    return candidate.stream.call.parameters.get("temperature") != 0
