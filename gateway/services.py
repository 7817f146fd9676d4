"""Everything one gateway process holds, built in order and closed in reverse. Nothing is reachable by import."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from aggregator import Aggregator
from aggregator.errors import UnknownStrategy
from aggregator.strategies.auto import AUTO
from experts.backends import BACKENDS, VllmBackend, make_client
from experts.backends.base import Backend
from experts.config import resolve_folder
from experts.dispatcher import Dispatcher
from experts.errors import ConfigError
from experts.health import HealthBoard, Prober
from experts.health.board import Breaker
from experts.registry import Expert, Registry, Replica
from experts.store import Store
from experts.types import ExpertCall, ExpertName, Message
from gateway.auth import AdminKey, Keyring
from gateway.batches import Desk, opened_desk
from gateway.cache import Replays
from gateway.cache.forgetting import Forgetting
from gateway.cache.opening import opened_replays
from gateway.catalogue import Catalogue, Consequences, FileReader, Registrar
from gateway.catalogue.records import file_entries
from gateway.catalogue.references import roles_of
from gateway.configuration import GatewayConfig
from gateway.feedback import Feedback
from gateway.fusers import Fusers
from gateway.fusing import FuserBenchmark, opened_benchmark
from gateway.improvement import check_trials, open_feedback, opened_learner, opened_store, run_beside
from gateway.jobs import Jobs
from gateway.keys import KeyBook
from gateway.limits import Gate
from gateway.limits.opening import opened_book, opened_gate, opened_ledger
from gateway.metrics import ExpertLoad, Metrics
from gateway.pipeline import Pipeline
from gateway.profiling import Profiler, opened_profiler
from gateway.running import Progress, open_runtime
from gateway.settings import Settings, is_loopback
from gateway.tracing import Tracing
from gateway.tracing.opening import opened_tracing
from gateway.translate import for_expert
from gateway.trials import Split
from gateway.upstreams import Upstreams
from gateway.usage.ledger import Ledger
from router import Router, RoutingConfig
from router.encoder import TextEncoder
from router.reading import Ask
from router.types import Load

LAG_INTERVAL_SECONDS = 0.5
READING_PARAMETERS = {"max_tokens": 200, "temperature": 0}
DRAINED = "draining"
ANSWERING = frozenset({"ready", "asleep", "waking"})
"""States in which a request is answered, if need be after its expert was woken."""


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers use."""

    settings: Settings
    config: GatewayConfig
    registry: Registry
    dispatcher: Dispatcher
    router: Router
    pipeline: Pipeline
    metrics: Metrics
    keyring: Keyring
    admin: AdminKey
    keys: KeyBook
    ledger: Ledger
    gate: Gate
    replays: Replays
    forgetting: Forgetting
    tracing: Tracing | None
    feedback: Feedback
    jobs: Jobs
    desk: Desk
    profiler: Profiler
    fusers: Fusers
    fuser_benchmark: FuserBenchmark
    store: Store
    catalogue: Catalogue
    consequences: Consequences
    registrar: Registrar
    file: FileReader

    def state(self, expert: ExpertName) -> str:
        """Return what an expert is doing in one word: ready, starting, restarting, failed, unreachable, asleep,
        waking, draining, drained; failed as well where it is registered and cannot be used here.
        """
        if (known := self.registry.snapshot.get(expert)) is None:
            return "failed"
        if known.drained:
            return "draining" if self.consequences.in_flight(expert) else "drained"
        running = self.catalogue.runtime.state(expert)
        if running not in (None, "ready"):
            return running
        if running == "ready" and self.dispatcher.residency.keeps(expert):
            return running  # it wrote a token when it woke; nobody may have asked since
        health, replicas = self.dispatcher.health, known.replicas
        return "ready" if any(health.of(replica.base_url).proven for replica in replicas) else "unreachable"

    def unfit(self) -> dict[ExpertName, str]:
        """Return experts that are not to be chosen now, with the reason: drained ones, and those that cannot serve.

        When none of the others can serve they are left in, so that one is tried.
        """
        world = self.registry.snapshot
        drained = {name: DRAINED for name, expert in world.items() if expert.drained}
        states = {name: self.state(name) for name in world if name not in drained}
        unfit = {name: state for name, state in states.items() if state not in ANSWERING}
        return drained if len(unfit) == len(states) else {**drained, **unfit}

    def load(self) -> dict[ExpertName, Load]:
        """Return what each expert is doing and how fast it lately answered, for the router."""
        return {name: self.load_of(expert) for name, expert in self.registry.snapshot.items()}

    def load_of(self, expert: Expert) -> Load:
        """Return what one expert is doing and how fast it lately answered."""
        name, admission = expert.name, self.dispatcher.admission
        times = self.dispatcher.pace.of(name)
        return Load(
            in_flight=admission.running.get(name, 0),
            waiting=admission.waiting.get(name, 0),
            places=expert.config.limits.max_in_flight,
            first_token_ms=None if times is None else times.first_token_ms,
            total_ms=None if times is None else times.total_ms,
        )

    def loads(self) -> Iterable[ExpertLoad]:
        """Yield what each expert is doing, for the metrics."""
        running, waiting = self.dispatcher.admission.running, self.dispatcher.admission.waiting
        for name in self.registry.snapshot:
            ready = self.state(name) == "ready"
            yield ExpertLoad(name, running.get(name, 0), waiting.get(name, 0), ready, self.breakers(name))

    def breakers(self, expert: ExpertName) -> dict[str, int]:
        """Return how many of an expert's replicas have their breaker in each state."""
        states = dict.fromkeys(get_args(Breaker), 0)
        for replica in self.registry.snapshot[expert].replicas:
            states[self.dispatcher.health.breaker(replica.base_url)] += 1
        return states


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
        store = opened_store(settings, stack)
        keys = await opened_book(settings, store, stack)
        client = await stack.enter_async_context(make_client())
        backends: dict[str, Backend] = {name: backend(client) for name, backend in BACKENDS.items()}
        runtime, residency = await open_runtime(
            *(settings, config, default, root, VllmBackend(client), stack, progress),
            moved=lambda: catalogue.refresh(),
        )
        catalogue = Catalogue(store, file_entries(config), runtime, os.environ)
        await catalogue.load()
        registry = catalogue.registry
        settings.check_workers(name for name, expert in registry.snapshot.items() if expert.config.launch is not None)
        dispatcher = Dispatcher(registry, backends, HealthBoard(), residency=residency)
        routing = routing_config(config.routing, default, root)
        ask = asking(routing.llm.expert, registry, dispatcher)
        router = await Router.create(routing, registry.profiles, encoder=encoder, ask=ask)
        stack.push_async_callback(router.aclose)
        check_trials(config, router)
        metrics = Metrics(lambda: built[0].loads(), lambda: encoder_counts(router), lambda: batch_sizes(router))
        ledger = await opened_ledger(store, stack)
        gate = opened_gate(
            settings, config.limits, book=keys, ledger=ledger, registry=registry, metrics=metrics, stack=stack
        )
        learner = await opened_learner(store, config.routing, metrics, stack)
        split = Split(config.routing)
        built: list[Services] = []
        fusers = Fusers(
            catalogue,
            unfit=lambda: built[0].unfit(),
            taxonomy=lambda: built[0].pipeline.router.context.taxonomy,
        )
        pipeline = Pipeline(
            registry=registry,
            router=router,
            dispatcher=dispatcher,
            aggregator=Aggregator(),
            fusion=config.fusion,
            default=default,
            unfit=lambda: built[0].unfit(),
            load=lambda: built[0].load(),
            fusers=fusers.best_first,
            advice=fusers.advice,
            learned=learner.overlaid,
            policy=split.policy,
        )
        probes = Probes(backends)
        consequences = Consequences(catalogue, dispatcher, pipeline, probes)
        consequences.begin(stack)
        replays, forgetting = opened_replays(
            settings, config, catalogue=catalogue, fusers=fusers.best_first, metrics=metrics, stack=stack
        )
        services = Services(
            settings=settings,
            config=config,
            registry=registry,
            dispatcher=dispatcher,
            router=router,
            pipeline=pipeline,
            metrics=metrics,
            keyring=Keyring(settings.key_values(), keys, open_without_keys=is_loopback(settings.host)),
            admin=AdminKey(settings.admin_key.get_secret_value()),
            keys=keys,
            ledger=ledger,
            gate=gate,
            tracing=opened_tracing(settings, stack),
            replays=replays,
            forgetting=forgetting,
            feedback=await open_feedback(config.routing, learner, split, pipeline, metrics, stack),
            jobs=(jobs := await stack.enter_async_context(Jobs(store))),
            desk=(
                desk := opened_desk(
                    settings,
                    store,
                    jobs,
                    pipeline,
                    metrics,
                    gate=gate,
                    state=lambda name: built[0].state(name),
                    config=config,
                )
            ),
            profiler=opened_profiler(
                *(jobs, catalogue, dispatcher, pipeline), lambda name: built[0].state(name), desk.shelf.path
            ),
            fusers=fusers,
            fuser_benchmark=opened_benchmark(
                *(jobs, catalogue, dispatcher, pipeline), lambda name: built[0].state(name), desk.shelf.path
            ),
            store=store,
            catalogue=catalogue,
            consequences=consequences,
            registrar=Registrar(
                *(catalogue, consequences, Upstreams(config.registry.allowed_upstreams), roles_of(config)),
                launches=settings.workers == 1 or settings.launcher != "local",
            ),
            file=FileReader(catalogue, consequences, config, {**roles_of(config), "routing.default": default}),
        )
        built.append(services)
        run_beside(stack, services.file.reading.run(), "reading-file")
        if config.registry.watch_file and config.path is not None:
            run_beside(stack, services.file.watch(), "watching-file")
        await stack.enter_async_context(Prober(registry, probes, dispatcher.health))
        stack.push_async_callback(cancelled, asyncio.create_task(measure_lag(services.metrics), name="loop-lag"))
        yield services


def default_expert(config: GatewayConfig) -> ExpertName:
    """Return the generalist: the configured one, else the first expert that declares no domain, else the first.

    Raises:
        ConfigError: routing.default, routing.llm.expert, or a key of the fusion section names nobody.
    """
    names = [expert.name for expert in config.experts]
    meant = {
        "routing.default": config.routing.default,
        "routing.llm.expert": config.routing.llm.expert,
        **config.fusion.experts(),
    }
    for key, named in meant.items():
        if named is not None and named not in names:
            raise ConfigError(f"{key} names '{named}', which is not one of {', '.join(names)}.")
    talking = [expert for expert in config.experts if expert.profile().speaks("chat")]
    generalists = [expert.name for expert in talking if not expert.domains]
    return config.routing.default or (generalists or [expert.name for expert in talking] or names)[0]


def asking(expert: ExpertName | None, registry: Registry, dispatcher: Dispatcher) -> Ask | None:
    """Return what asks the reading expert, by its own name and without thinking; None when there is none."""
    if expert is None:
        return None

    async def ask(messages: tuple[Message, ...]) -> str:
        parameters = for_expert(READING_PARAMETERS, registry.snapshot[expert].profile, "off")
        return (await dispatcher.open(ExpertCall(expert, messages, parameters)).read()).text

    return ask


def check_strategy(config: GatewayConfig) -> None:
    """Refuse a fusion strategy that does not exist, and an `auto` that leads back to itself.

    Raises:
        ConfigError: fusion.strategy, fusion.auto.closed or fusion.auto.open names none that can be used there.
    """
    fusion = config.fusion
    meant = {"strategy": fusion.strategy, "auto.closed": fusion.auto.closed, "auto.open": fusion.auto.open}
    for key, name in meant.items():
        try:
            Aggregator().strategy(name)
        except UnknownStrategy as error:
            raise ConfigError(f"fusion.{key}: {error}") from error
        if key != "strategy" and name == AUTO:
            raise ConfigError(f"fusion.{key}: 'auto' cannot choose itself.")


def routing_config(routing: RoutingConfig, default: ExpertName, root: Path) -> RoutingConfig:
    """Return the routing section with the default expert filled in and folders found under `root`."""
    encoder = routing.encoder.model_copy(update={"model": resolve_folder(routing.encoder.model, root)})
    artifact = None if routing.artifact is None else resolve_folder(routing.artifact, root)
    return routing.model_copy(update={"default": default, "encoder": encoder, "artifact": artifact})


def encoder_counts(router: Router) -> dict[str, int]:
    """Return what the router's encoder has done, by kind; empty when it does not count."""
    facts = getattr(router.encoder, "facts", None)
    return {} if facts is None else asdict(facts)


def batch_sizes(router: Router) -> Mapping[int, int]:
    """Return how many batches of each size the router's encoder has run; empty when it does not count."""
    return getattr(router.encoder, "batch_sizes", {})


class Probes:
    """Let the prober ask each expert through its own backend."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends

    async def probe(self, expert: Expert, replica: Replica) -> None:
        """Probe one replica; see `Backend.probe`."""
        await self._backends[expert.config.backend].probe(expert, replica)


async def measure_lag(metrics: Metrics) -> None:
    """Keep the event loop's delay in the metrics: how much later than asked a sleep ends."""
    loop = asyncio.get_running_loop()
    while True:
        begun = loop.time()
        await asyncio.sleep(LAG_INTERVAL_SECONDS)
        metrics.loop_lag.observe(max(0.0, loop.time() - begun - LAG_INTERVAL_SECONDS))


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it is gone."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
