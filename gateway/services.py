"""Everything one gateway process holds, as handlers use it. Nothing is reachable by import; `opening` builds it."""

from __future__ import annotations

from dataclasses import dataclass

from experts.dispatcher import Dispatcher
from experts.registry import Registry
from experts.store import Store
from gateway.auth import AdminKey, Keyring
from gateway.batches import Desk
from gateway.cache import Replays
from gateway.cache.forgetting import Forgetting
from gateway.catalogue import Catalogue, Consequences, FileReader, Registrar
from gateway.configuration import GatewayConfig
from gateway.feedback import Feedback
from gateway.fusers import Fusers
from gateway.fusing import FuserBenchmark
from gateway.jobs import Jobs
from gateway.keys import KeyBook
from gateway.limits import Gate
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.profiling import Profiler
from gateway.settings import Settings
from gateway.standing import Standing
from gateway.tracing import Tracing
from gateway.usage.ledger import Ledger
from router import Router


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers use."""

    settings: Settings
    config: GatewayConfig
    registry: Registry
    standing: Standing
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
