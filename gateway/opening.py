"""Build everything one gateway process holds, in order, and close it in reverse.

Ground   what it is built from, and Team, who there is to ask: `gateway.team`
Books    who may ask, and what was used
Work     what goes on beside the requests
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from aggregator import Aggregator
from experts.health import Prober
from gateway.auth import AdminKey, Keyring
from gateway.batches import Desk, opened_desk
from gateway.cache.opening import opened_replays
from gateway.catalogue import Consequences, FileReader, Registrar
from gateway.catalogue.references import roles_of
from gateway.configuration import GatewayConfig
from gateway.fusers import Fusers
from gateway.fusing import FuserBenchmark, opened_benchmark
from gateway.improvement import open_feedback, opened_learner, opened_store, run_beside
from gateway.jobs import Jobs
from gateway.keys import KeyBook
from gateway.learning import Learner
from gateway.limits import Gate
from gateway.limits.opening import opened_book, opened_gate, opened_ledger
from gateway.meaning import check_strategy, default_expert
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.profiling import Profiler, opened_profiler
from gateway.running import Progress
from gateway.services import Services
from gateway.settings import Settings, is_loopback
from gateway.team import Ground, Team, open_router, open_team
from gateway.tracing.opening import opened_tracing
from gateway.trials import Split
from gateway.upstreams import Upstreams
from gateway.usage.ledger import Ledger
from router import Router
from router.encoder import TextEncoder

LAG_INTERVAL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Books:
    """Who may ask and how much, and what was used."""

    keys: KeyBook
    metrics: Metrics
    ledger: Ledger
    gate: Gate


@dataclass(frozen=True, slots=True)
class Work:
    """What goes on beside the requests: batches, measuring experts and fusers."""

    jobs: Jobs
    desk: Desk
    profiler: Profiler
    fuser_benchmark: FuserBenchmark


@asynccontextmanager
async def open_services(
    settings: Settings,
    config: GatewayConfig,
    root: Path,
    progress: Progress | None = None,
    encoder: TextEncoder | None = None,
) -> AsyncIterator[Services]:
    """Build everything, and close it when left. Servers of ours are started here and come up meanwhile.

    Args:
        root: the folder relative paths in the configuration count from.
        progress: told whenever one of our servers gets further.
        encoder: instead of the configured one; the caller closes it.

    Raises:
        ConfigError: the configuration cannot be used on this machine.
        LaunchError: a server of ours could not even be started.
    """
    async with AsyncExitStack() as stack:
        default = default_expert(config)
        check_strategy(config)
        ground = Ground(settings, config, root, default, opened_store(settings, stack), stack)
        keys = await opened_book(settings, ground.store, stack)
        team = await open_team(ground, progress)
        router = await open_router(ground, team, encoder)
        books = await open_books(ground, team, router, keys)
        learner = await opened_learner(ground.store, config.routing, books.metrics, stack)
        split = Split(config.routing)
        pipeline, fusers = planned(ground, team, router, learner, split)
        services = await assembled(ground, team, books, pipeline, fusers, learner, split)
        run_beside(stack, services.file.reading.run(), "reading-file")
        if config.registry.watch_file and config.path is not None:
            run_beside(stack, services.file.watch(), "watching-file")
        await stack.enter_async_context(Prober(team.catalogue.registry, team.probes, team.dispatcher.health))
        run_beside(stack, measure_lag(services.metrics), "loop-lag")
        yield services


async def open_books(ground: Ground, team: Team, router: Router, keys: KeyBook) -> Books:
    """Return what counts: metrics of this process, usage, and limits of keys."""
    metrics = Metrics(team.standing.loads, lambda: encoder_counts(router), lambda: batch_sizes(router))
    ledger = await opened_ledger(ground.store, ground.stack)
    gate = opened_gate(
        *(ground.settings, ground.config.limits),
        book=keys,
        ledger=ledger,
        registry=team.catalogue.registry,
        metrics=metrics,
        stack=ground.stack,
    )
    return Books(keys, metrics, ledger, gate)


def planned(ground: Ground, team: Team, router: Router, learner: Learner, split: Split) -> tuple[Pipeline, Fusers]:
    """Return what requests go through, and who is known to fuse well."""
    standing = team.standing
    fusers = Fusers(team.catalogue, unfit=standing.unfit, taxonomy=lambda: pipeline.router.context.taxonomy)
    pipeline = Pipeline(
        registry=team.catalogue.registry,
        router=router,
        dispatcher=team.dispatcher,
        aggregator=Aggregator(),
        fusion=ground.config.fusion,
        default=ground.default,
        unfit=standing.unfit,
        load=standing.load,
        fusers=fusers.best_first,
        advice=fusers.advice,
        learned=learner.overlaid,
        policy=split.policy,
    )
    return pipeline, fusers


async def open_work(ground: Ground, team: Team, pipeline: Pipeline, books: Books) -> Work:
    """Return what goes on beside the requests; jobs that were left begin again."""
    jobs, state = await ground.stack.enter_async_context(Jobs(ground.store)), team.standing.state
    desk = opened_desk(
        *(ground.settings, ground.store, jobs, pipeline, books.metrics),
        gate=books.gate,
        state=state,
        config=ground.config,
    )
    measured = (jobs, team.catalogue, team.dispatcher, pipeline, state, desk.shelf.path)
    return Work(jobs, desk, opened_profiler(*measured), opened_benchmark(*measured))


async def assembled(
    ground: Ground, team: Team, books: Books, pipeline: Pipeline, fusers: Fusers, learner: Learner, split: Split
) -> Services:
    """Return what handlers use. Changes of the experts are followed from here on."""
    settings, config, stack = ground.settings, ground.config, ground.stack
    catalogue, dispatcher, metrics = team.catalogue, team.dispatcher, books.metrics
    consequences = Consequences(catalogue, dispatcher, pipeline, team.probes)
    consequences.begin(stack)
    replays, forgetting = opened_replays(
        settings, config, catalogue=catalogue, fusers=fusers.best_first, metrics=metrics, stack=stack
    )
    tracing = opened_tracing(settings, stack)
    feedback = await open_feedback(config.routing, learner, split, pipeline, metrics, stack)
    work = await open_work(ground, team, pipeline, books)
    return Services(
        settings=settings,
        config=config,
        registry=catalogue.registry,
        standing=team.standing,
        dispatcher=dispatcher,
        router=pipeline.router,
        pipeline=pipeline,
        metrics=metrics,
        keyring=Keyring(settings.key_values(), books.keys, open_without_keys=is_loopback(settings.host)),
        admin=AdminKey(settings.admin_key.get_secret_value()),
        keys=books.keys,
        ledger=books.ledger,
        gate=books.gate,
        tracing=tracing,
        replays=replays,
        forgetting=forgetting,
        feedback=feedback,
        jobs=work.jobs,
        desk=work.desk,
        profiler=work.profiler,
        fusers=fusers,
        fuser_benchmark=work.fuser_benchmark,
        store=ground.store,
        catalogue=catalogue,
        consequences=consequences,
        registrar=Registrar(
            *(catalogue, consequences, Upstreams(config.registry.allowed_upstreams), roles_of(config)),
            launches=settings.workers == 1 or settings.launcher != "local",
        ),
        file=FileReader(catalogue, consequences, config, {**roles_of(config), "routing.default": ground.default}),
    )


def encoder_counts(router: Router) -> dict[str, int]:
    """Return what the router's encoder has done, by kind; empty when it does not count."""
    facts = getattr(router.encoder, "facts", None)
    return {} if facts is None else asdict(facts)


def batch_sizes(router: Router) -> Mapping[int, int]:
    """Return how many batches of each size the router's encoder has run; empty when it does not count."""
    return getattr(router.encoder, "batch_sizes", {})


async def measure_lag(metrics: Metrics) -> None:
    """Keep the event loop's delay in the metrics: how much later than asked a sleep ends."""
    loop = asyncio.get_running_loop()
    while True:
        begun = loop.time()
        await asyncio.sleep(LAG_INTERVAL_SECONDS)
        metrics.loop_lag.observe(max(0.0, loop.time() - begun - LAG_INTERVAL_SECONDS))
