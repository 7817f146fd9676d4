"""Build what learns and compares: the store, the learner, the trials, the judge; closed in reverse by the stack."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

from experts.errors import ConfigError
from experts.launch.state import state_folder
from experts.store import SqliteStore, Store
from gateway.configuration import GatewayConfig
from gateway.feedback import Feedback
from gateway.judging import PARAMETERS, Judge
from gateway.learning import AlarmSeen, Learner
from gateway.logs import facts
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.schemas import ChatRequest
from gateway.settings import Settings
from gateway.translate import for_expert
from gateway.trials import AUTO, Split, Trials
from router import Router, RoutingConfig
from router.policies import POLICIES
from router.types import RoutingDecision

log = logging.getLogger(__name__)
FILE_NAME = "consilium.db"
MEMORY = ":memory:"
POLL_SECONDS = 0.25
"""How soon processes that share a file see what another changed."""
READS_DOMAINS = "profile"


def check_trials(config: GatewayConfig, router: Router) -> None:
    """Refuse trials and judges that name nobody.

    Raises:
        ConfigError: a policy or the judging expert does not exist.
    """
    known = {AUTO, *POLICIES, *router.policies}
    for key, policy in (("split", config.routing.split.policy), ("shadow", config.routing.shadow.policy)):
        if policy is not None and policy not in known:
            raise ConfigError(
                f"routing.{key}.policy: there is no '{policy}'; choose one of {', '.join(sorted(known))}."
            )
    judge, names = config.routing.learning.judge.expert, [expert.name for expert in config.experts]
    if judge is not None and judge not in names:
        raise ConfigError(f"routing.learning.judge.expert names '{judge}', which is not one of {', '.join(names)}.")


def open_store(settings: Settings) -> Store:
    """Return the store that the settings name; without a state folder, one that forgets, and the log says so."""
    if redis_url := settings.redis_url.get_secret_value():
        from experts.store.redis import RedisStore  # a tenth of a second, for those who use it

        return RedisStore(redis_url)
    if settings.store:
        return SqliteStore(settings.store, poll_seconds=POLL_SECONDS)
    try:
        return SqliteStore(state_folder() / FILE_NAME, poll_seconds=POLL_SECONDS)
    except ConfigError as error:
        log.warning("nothing will be remembered over a restart", extra=facts(reason=str(error)))
        return SqliteStore(MEMORY)


def opened_store(settings: Settings, stack: AsyncExitStack) -> Store:
    """Return the store that the settings name, closed with `stack`."""
    store = open_store(settings)
    stack.push_async_callback(store.aclose)
    return store


async def opened_learner(store: Store, routing: RoutingConfig, metrics: Metrics, stack: AsyncExitStack) -> Learner:
    """Return the learner with what it learnt before, following what other processes learn.

    Raises:
        StoreError: what was learnt cannot be read.
    """

    def told(seen: AlarmSeen) -> None:
        metrics.alarms.labels(seen.alarm.expert, seen.alarm.direction).inc()
        if seen.rolled_back_to is not None:
            metrics.rollbacks.labels("alarm").inc()

    learner = Learner(store, routing.learning, told=told)
    await learner.load()
    run_beside(stack, learner.follow(), "learning-follow")
    return learner


async def open_feedback(
    routing: RoutingConfig, learner: Learner, split: Split, pipeline: Pipeline, metrics: Metrics, stack: AsyncExitStack
) -> Feedback:
    """Return what joins decisions, learner, trials and judge."""
    trials = Trials(routing, pipeline, learner.store, metrics)
    stack.push_async_callback(trials.aclose)
    run_beside(stack, trials.keep(), "trial-sums")
    named = routing.learning.judge
    judge = None
    if named.expert is not None:
        profile = pipeline.registry.snapshot[named.expert].profile
        judge = Judge(pipeline.dispatcher, named.expert, named, for_expert(PARAMETERS, profile, "off"))
    feedback = Feedback(
        routing.learning,
        learner=learner,
        split=split,
        trials=trials,
        judge=judge,
        reader=lambda request: read_request(request, pipeline),
        metrics=metrics,
    )
    stack.push_async_callback(feedback.aclose)
    return feedback


async def read_request(request: ChatRequest, pipeline: Pipeline) -> RoutingDecision:
    """Return what `profile` would decide, for its domains and qualities; nobody acts on it.

    Raises:
        RoutingError: nobody is eligible.
    """
    query, profiles = pipeline.question(request)
    return await pipeline.router.route(replace(query, policy=READS_DOMAINS), profiles)


def run_beside(stack: AsyncExitStack, work: Coroutine[None, None, None], name: str) -> None:
    """Run endless work until the stack is closed."""
    task = asyncio.create_task(work, name=name)

    async def stopped() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(stopped)
