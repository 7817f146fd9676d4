"""An expert as `/admin/experts` shows it: its record, and how it is doing. Keys are never in it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from experts.health import HealthBoard
from experts.profile import SkillProfile
from experts.registry import Expert
from gateway.catalogue.records import Entry, secrets, shown_secret, with_secrets

if TYPE_CHECKING:
    from gateway.services import Services

LIVE = ("version", "source", "drained", "state", "reason", "sleeps", "health", "load", "profile", "measured", "fusing")
"""What stands in an answer beside the record; sent back, it is not read."""


def shown_record(entry: Entry) -> dict[str, Any]:
    """Return the record with every field, usual values included; secrets as `${VAR}` or `***`."""
    known = secrets(entry.written)
    dumped = entry.config.model_dump(mode="json")
    return with_secrets(dumped, lambda _, where: shown_secret(known.get(where, "")))


def shown(entry: Entry, services: Services) -> dict[str, Any]:
    """Return an expert's record and, beside it, its version, source, state, health, load and profile."""
    expert = services.registry.snapshot.get(entry.name)
    found, fusing = services.catalogue.measured(entry.name), services.catalogue.fusing(entry.name)
    return {
        **shown_record(entry),
        "version": entry.version,
        "source": entry.source,
        "drained": entry.drained,
        "state": services.standing.state(entry.name),
        "reason": services.catalogue.runtime.failure(entry.name) or None,
        "sleeps": services.dispatcher.residency.keeps(entry.name),
        "health": [] if expert is None else shown_health(expert, services.dispatcher.health),
        "load": None if expert is None else asdict(services.standing.load_of(expert)),
        "profile": None if expert is None else shown_profile(expert.profile),
        "measured": None if found is None else dict(found.body),
        "fusing": None if fusing is None else dict(fusing.body),
    }


def shown_health(expert: Expert, health: HealthBoard) -> list[dict[str, Any]]:
    """Return how each replica fared."""
    rows = [(replica, health.of(replica.base_url)) for replica in expert.replicas]
    return [
        {
            "base_url": replica.base_url,
            "weight": replica.weight,
            "ready": record.proven,
            "in_flight": record.in_flight,
            "breaker": health.breaker(replica.base_url),
            "faults_in_a_row": record.faults_in_a_row,
            "rests_seconds": round(max(0.0, record.free_at - health.clock()), 3),
            "last_error": record.last_error or None,
        }
        for replica, record in rows
    ]


def shown_profile(profile: SkillProfile) -> dict[str, Any]:
    """Return what routing goes by."""
    return {
        "domains": list(profile.domains),
        "measured": {d: {"accuracy": s.accuracy, "count": s.count} for d, s in profile.measured.items()},
        "output_tokens": profile.output_tokens,
        "latency_ms": profile.latency_ms,
    }
