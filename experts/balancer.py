"""Choose a replica for one call. Pure: facts in, replica out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from experts.health.board import HealthBoard
from experts.registry import Replica


def choose(replicas: Sequence[Replica], health: HealthBoard, *, tried: Collection[str] = ()) -> Replica | None:
    """Return the rested replica with the least outstanding calls per weight, or None when all were tried.

    When every untried replica rests, the one whose rest ends first is returned: a request still probes.
    """
    untried = [replica for replica in replicas if replica.base_url not in tried]
    if not untried:
        return None
    rested = [replica for replica in untried if not health.rests(replica.base_url)]
    if rested:
        return min(rested, key=lambda replica: health.of(replica.base_url).in_flight / replica.weight)
    return min(untried, key=lambda replica: health.of(replica.base_url).rests_until)
