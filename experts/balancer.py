"""Choose a replica for one call. Pure: facts in, replica out.

The least outstanding calls per weight win, over all replicas and not over two drawn at random: the counts are this
process's own and never stale, and an expert has few replicas (docs/experts.md has both beside each other). Ties are
broken at random, so that several gateways that know nothing of each other do not all begin with the first.

With affinity, calls that share a key prefer the same replica, whose cache knows their beginning: weighted rendezvous
hashing (Schindelhauer and Schomaker 2005), bounded by load (Mirrokni, Thorup and Zadimoghaddam 2018).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from math import ceil, log

from experts.health.board import HealthBoard
from experts.registry import Replica
from experts.types import ExpertCall

LEAN = 1.25
"""A replica that affinity prefers holds at most so many times its share of the calls."""
PREFIX_CHARACTERS = 1024
"""How much of a conversation's opening decides where it goes: a shared system prompt, but not a whole document."""


def choose(
    replicas: Sequence[Replica],
    health: HealthBoard,
    *,
    tried: Collection[str] = (),
    key: str | None = None,
    draw: Callable[[], float] = random.random,
) -> Replica | None:
    """Return the rested replica with the least outstanding calls per weight, or None when all were tried.

    When every untried replica rests, the one whose rest ends first is returned: a request still probes.

    Args:
        key: what calls that belong together share; they prefer one replica while it has not much more than its share.
        draw: a number from [0, 1) for each replica, to break ties.
    """
    untried = [replica for replica in replicas if replica.base_url not in tried]
    if not untried:
        return None
    rested = [replica for replica in untried if not health.rests(replica.base_url)]
    if not rested:
        return min(untried, key=lambda replica: health.of(replica.base_url).free_at)
    if len(rested) == 1:
        return rested[0]
    if key is not None:
        return preferred(rested, health, key)
    return min(rested, key=lambda replica: (_share(replica, health), draw()))


def preferred(replicas: Sequence[Replica], health: HealthBoard, key: str) -> Replica:
    """Return the first replica in the key's own order that is not loaded beyond its share."""
    calls = sum(health.of(replica.base_url).in_flight for replica in replicas) + 1
    weight = sum(replica.weight for replica in replicas)
    in_order = sorted(replicas, key=lambda replica: _distance(key, replica))
    bounds = {replica.base_url: ceil(LEAN * calls * replica.weight / weight) for replica in replicas}
    free = (each for each in in_order if health.of(each.base_url).in_flight < bounds[each.base_url])
    return next(free, in_order[0])


def affinity_key(kind: str, call: ExpertCall) -> str | None:
    """Return what `call` shares with those that should go where it goes; None where that does not matter.

    `session` is the client's own name for a conversation; `prefix` is how it opens, up to the first user message.
    """
    if kind == "session":
        return f"{call.client}\n{call.session}" if call.session else None
    return _opening(call) if kind == "prefix" else None


def _opening(call: ExpertCall) -> str:
    said: list[str] = []
    for message in call.messages:
        said.append(f"{message.get('role')}: {message.get('content')}"[:PREFIX_CHARACTERS])
        if message.get("role") == "user":
            break
    return "\n".join(said)[:PREFIX_CHARACTERS]


def _share(replica: Replica, health: HealthBoard) -> float:
    """Return its outstanding calls per weight, this one included: of idle ones the heavier comes first."""
    return (health.of(replica.base_url).in_flight + 1) / replica.weight


def _distance(key: str, replica: Replica) -> float:
    digest = blake2b(f"{key}\0{replica.base_url}".encode(errors="replace"), digest_size=8).digest()
    uniform = (int.from_bytes(digest) + 1) / 2**64
    return -log(uniform) / replica.weight
