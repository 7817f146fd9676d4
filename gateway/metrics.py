"""Counters of one gateway process. Inner rooms never count: facts travel in the data and are counted here.

Every metric starts with `consilium_`; labels are names from the configuration, never text from a client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from aggregator.types import FusionReport
from experts.types import CallFacts, ExpertName
from router.types import RoutingDecision

disable_created_metrics()  # type: ignore[no-untyped-call]
Family = TypeVar("Family", Counter, Histogram)
FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class ExpertLoad(NamedTuple):
    """What one expert is doing at this moment; `breakers` counts its replicas by the state of their breaker."""

    expert: ExpertName
    in_flight: int
    waiting: int
    ready: bool
    breakers: Mapping[str, int] = MappingProxyType({})


class Metrics:
    """All metrics, on a registry of their own.

    `load`, `encoder` (its counts by name) and `batches` (how many of its batches had which size) are asked at a scrape.
    `running` is kept by whoever begins and ends requests.
    """

    def __init__(
        self,
        load: Callable[[], Iterable[ExpertLoad]],
        encoder: Callable[[], Mapping[str, int]] = dict,
        batches: Callable[[], Mapping[int, int]] = dict,
    ) -> None:
        self.registry = CollectorRegistry()
        self.running = 0
        self.requests = self._counter("consilium_requests_total", "Requests by model asked and status.", "model status")
        self.seconds = self._histogram("consilium_request_seconds", "Request to last byte.", "model", SLOW)
        self.first_token = self._histogram(
            "consilium_first_token_seconds", "First attempt to first token.", "expert", SLOW
        )
        self.route = self._histogram("consilium_route_seconds", "Routing by stage.", "stage", FAST)
        self.decisions = self._counter(
            "consilium_decisions_total", "Decisions by policy, first domain and first expert.", "policy domain expert"
        )
        self.confidence = self._histogram(
            "consilium_decision_confidence", "How sure decisions were, by policy.", "policy", TENTHS
        )
        self.tokens = self._counter("consilium_tokens_total", "Tokens by expert and kind.", "expert kind")
        self.attempts = self._counter(
            "consilium_attempts_total", "Calls to expert servers, retries included.", "expert"
        )
        self.retries = self._counter(
            "consilium_retries_total", "Attempts after the first of a call, by who answered at last.", "expert"
        )
        self.attempt_failures = self._counter(
            "consilium_attempt_failures_total", "Attempts that failed, by kind of error.", "expert error"
        )
        self.queue = self._histogram("consilium_queue_seconds", "Call to a place at the expert.", "expert", SLOW)
        self.inter_token = self._histogram(
            "consilium_inter_token_seconds", "Mean time between tokens of an answer.", "expert", FAST
        )
        self.cost = self._counter("consilium_cost_usd_total", "What answers cost, by expert.", "expert")
        self.failures = self._counter("consilium_fusion_failures_total", "Candidates that failed.", "expert strategy")
        self.fusions = self._counter("consilium_fusions_total", "Answers by fusion strategy.", "strategy")
        self.feedback = self._counter("consilium_feedback_total", "Feedback by arm and what it did.", "arm outcome")
        self.alarms = self._counter("consilium_drift_alarms_total", "Experts that changed.", "expert direction")
        self.rollbacks = self._counter("consilium_rollbacks_total", "Returns to an earlier version.", "cause")
        self.judgements = self._counter("consilium_judgements_total", "Answers judged by an expert.", "outcome")
        self.failed_open = self._counter(
            "consilium_routing_failed_open_total", "Requests whose routing failed open.", "cause"
        )
        self.shadows = self._counter("consilium_shadow_decisions_total", "Shadow decisions.", "agreed")
        self.batch_lines = self._counter("consilium_batch_lines_total", "Lines of batches that ended.", "outcome")
        self.limited = self._counter("consilium_limited_total", "Requests beyond a key's limits.", "cause")
        self.uncounted = self._counter(
            "consilium_limits_unavailable_total", "Requests of limited keys that could not be counted.", "outcome"
        )
        self.cache = self._counter("consilium_cache_total", "Requests that wanted a kept answer.", "outcome")
        self.arms = self._counter("consilium_arm_requests_total", "Answers by arm of the split.", "arm")
        self.loop_lag = Histogram(
            "consilium_loop_lag_seconds",
            "Delay of the event loop, twice a second.",
            registry=self.registry,
            buckets=FAST,
        )
        self.registry.register(_LoadCollector(load, encoder, batches, lambda: self.running))

    def _counter(self, name: str, text: str, labels: str) -> Counter:
        return _quick(Counter(name, text, labels.split(), registry=self.registry))

    def _histogram(self, name: str, text: str, labels: str, buckets: tuple[float, ...]) -> Histogram:
        return _quick(Histogram(name, text, labels.split(), registry=self.registry, buckets=buckets))

    def decided(self, decision: RoutingDecision) -> None:
        """Count one routing decision."""
        domain = max(decision.domains, key=lambda d: decision.domains[d], default="")
        self.decisions.labels(decision.policy, domain, decision.assignments[0].expert).inc()
        for stage, milliseconds in decision.timings_ms.items():
            self.route.labels(stage).observe(milliseconds / 1000)
        self.confidence.labels(decision.policy).observe(decision.confidence)
        if decision.failed_open is not None:
            self.failed_open.labels(decision.failed_open).inc()

    def called(self, calls: Iterable[CallFacts]) -> None:
        """Count what happened in the calls of one request, each arm of a fusion on its own."""
        for facts in calls:
            expert = facts.expert
            if facts.attempts:
                self.attempts.labels(expert).inc(facts.attempts)
                self.queue.labels(expert).observe(facts.waited_seconds)
            if facts.attempts > 1:
                self.retries.labels(expert).inc(facts.attempts - 1)
            for failure in facts.failures:
                who, _, error = failure.partition(": ")
                self.attempt_failures.labels(who, error).inc()
            if (seconds := seconds_between_tokens(facts)) is not None:
                self.inter_token.labels(expert).observe(seconds)

    def paid(self, expert: ExpertName, cost_usd: float) -> None:
        """Count what an answer cost."""
        self.cost.labels(expert).inc(cost_usd)

    def answered(self, report: FusionReport) -> None:
        """Count what one answer took."""
        expert = report.answered_by or "none"
        self.fusions.labels(report.strategy).inc()
        for name, usage in report.usage_by_expert.items():
            self.tokens.labels(name, "prompt").inc(usage.prompt_tokens)
            self.tokens.labels(name, "completion").inc(usage.completion_tokens)
        if report.first_token_seconds is not None:
            self.first_token.labels(expert).observe(report.first_token_seconds)
        for failure in report.failures:
            self.failures.labels(failure.expert, report.strategy).inc()

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self.registry)


def seconds_between_tokens(facts: CallFacts) -> float | None:
    """Return the mean time from one token of an answer to the next; None where that cannot be told."""
    if facts.usage is None or facts.first_token_seconds is None or facts.total_seconds is None:
        return None
    gaps = facts.usage.completion_tokens - 1
    return None if gaps < 1 else (facts.total_seconds - facts.first_token_seconds) / gaps


def _quick(metric: Family) -> Family:
    """Return a metric that remembers its children by their labels: the library looks each of them up under a lock."""
    metric.labels = cache(metric.labels)  # type: ignore[method-assign]
    return metric


class _LoadCollector:
    """Read live gauges when asked instead of keeping them up to date."""

    def __init__(
        self,
        load: Callable[[], Iterable[ExpertLoad]],
        encoder: Callable[[], Mapping[str, int]],
        batches: Callable[[], Mapping[int, int]],
        running: Callable[[], int],
    ) -> None:
        self._load, self._encoder, self._batches, self._running = load, encoder, batches, running

    def collect(self) -> Iterable[Metric]:
        running = GaugeMetricFamily("consilium_requests_in_flight", "Requests being answered.", value=self._running())
        return [running, *self._experts(), *self._of_encoder()]

    def _experts(self) -> Iterable[Metric]:
        families = {
            name: GaugeMetricFamily(f"consilium_expert_{name}", text, labels=["expert"])
            for name, text in (
                ("in_flight", "Calls running at an expert."),
                ("waiting", "Calls waiting for a place at an expert."),
                ("ready", "1 while an expert can answer."),
            )
        }
        replicas = GaugeMetricFamily(
            "consilium_expert_replicas", "Replicas by the state of their breaker.", labels=["expert", "breaker"]
        )
        for load in self._load():
            families["in_flight"].add_metric([load.expert], load.in_flight)
            families["waiting"].add_metric([load.expert], load.waiting)
            families["ready"].add_metric([load.expert], float(load.ready))
            for state, count in load.breakers.items():
                replicas.add_metric([load.expert, state], count)
        return [*families.values(), replicas]

    def _of_encoder(self) -> Iterable[Metric]:
        encoder = GaugeMetricFamily("consilium_encoder", "What the encoder has done, by kind.", labels=["kind"])
        for kind, count in self._encoder().items():
            encoder.add_metric([kind], count)
        sizes, bounds = self._batches(), (0, *BATCH_SIZES)
        within = [sum(n for size, n in sizes.items() if low < size <= high) for low, high in pairwise(bounds)]
        buckets = [(str(bound), float(count)) for bound, count in zip(BATCH_SIZES, accumulate(within), strict=True)]
        total = float(sum(size * count for size, count in sizes.items()))
        batch = HistogramMetricFamily("consilium_encoder_batch_size", "Texts the encoder took at once.")
        batch.add_metric([], [*buckets, ("+Inf", float(sum(sizes.values())))], total)
        return [encoder, batch]
