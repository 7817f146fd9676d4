"""What is counted, from the facts that travel with answers."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from experts.types import CallFacts, Usage
from gateway.metrics import ExpertLoad, Metrics, seconds_between_tokens
from router.types import Assignment, RoutingDecision


def values(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and sorted labels."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {(s.name, *sorted(f"{k}={v}" for k, v in s.labels.items())): s.value for f in families for s in f.samples}


def facts(**more: object) -> CallFacts:
    made = CallFacts(expert="math", attempts=1)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_every_call_counts_its_queue_and_the_attempts_that_failed_before_it() -> None:
    metrics = Metrics(list)
    failures = ["law: ExpertTimeout", "law: ExpertUnavailable"]
    metrics.called([facts(attempts=3, failures=failures, waited_seconds=0.3), facts(waited_seconds=0.02)])
    found = values(metrics)

    assert 2 == found["consilium_queue_seconds_count", "expert=math"]
    assert 0.32 == pytest.approx(found["consilium_queue_seconds_sum", "expert=math"])
    assert 2 == found["consilium_retries_total", "expert=math"]
    assert 1 == found["consilium_attempt_failures_total", "error=ExpertTimeout", "expert=law"]
    assert 1 == found["consilium_attempt_failures_total", "error=ExpertUnavailable", "expert=law"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"first_token_seconds": 0.5, "total_seconds": 2.5, "usage": Usage(3, 5)}, 0.5),
        ({"first_token_seconds": 0.5, "total_seconds": 2.5, "usage": Usage(3, 1)}, None),
        ({"first_token_seconds": 0.5, "total_seconds": 2.5}, None),
        ({"usage": Usage(3, 5)}, None),
    ],
)
def test_the_time_between_tokens_is_told_of_answers_that_came_to_their_end(
    told: dict[str, object], expected: float | None
) -> None:
    assert expected == seconds_between_tokens(facts(**told))


def test_a_call_that_was_never_made_counts_nothing() -> None:
    metrics = Metrics(list)
    metrics.called([CallFacts(expert="math")])

    assert not [each for each in values(metrics) if "expert=math" in each]


def test_decisions_say_how_sure_they_were() -> None:
    metrics = Metrics(list)
    for confidence in (0.25, 0.95):
        metrics.decided(RoutingDecision((Assignment("math", 1.0),), "profile", confidence))
    found = values(metrics)

    assert 1 == found["consilium_decision_confidence_bucket", "le=0.3", "policy=profile"]
    assert 2 == found["consilium_decision_confidence_bucket", "le=1.0", "policy=profile"]


def test_cost_adds_up_by_expert() -> None:
    metrics = Metrics(list)
    metrics.paid("math", 0.25)
    metrics.paid("math", 0.5)

    assert 0.75 == values(metrics)["consilium_cost_usd_total", "expert=math"]


def test_batches_of_the_encoder_are_a_histogram_of_their_sizes() -> None:
    found = values(Metrics(list, batches=lambda: {1: 5, 3: 2, 16: 1, 40: 1}))

    name = "consilium_encoder_batch_size"
    assert [5, 5, 7, 7, 8, 8, 9] == [
        found[f"{name}_bucket", f"le={le}"] for le in ("1", "2", "4", "8", "16", "32", "+Inf")
    ]
    assert (9, 67) == (found[f"{name}_count",], found[f"{name}_sum",])


def test_replicas_are_told_by_the_state_of_their_breaker() -> None:
    found = values(Metrics(lambda: [ExpertLoad("math", 1, 2, True, {"closed": 2, "open": 1})]))

    assert 1 == found["consilium_expert_replicas", "breaker=open", "expert=math"]
    assert 2 == found["consilium_expert_replicas", "breaker=closed", "expert=math"]
