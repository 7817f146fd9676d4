"""One expert's server on a node of a Ray cluster: an actor with one supervised vLLM server inside.

It runs for as long as somebody holds it. A gateway holds a server by asking how it is, every second; one that has
not asked for a while holds it no more, and a server that nobody holds ends and gives its resources back. So gateways
share servers, a gateway that is started again finds them warm, and nothing is left when all are gone.

When the node fails, Ray starts the actor on another one: it plans anew there, on another address.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from experts.config import ExpertConfig
from experts.errors import ConfigError, LaunchError, ServiceError
from experts.launch.environment import VllmEnvironment, find_environment
from experts.launch.gpus import visible_gpus
from experts.launch.plan import plan_servers
from experts.launch.process import GRACE_SECONDS, SupervisedServer
from experts.launch.ray_plan import Report
from experts.launch.state import log_path
from experts.launch.supervision import Patience
from experts.launch.vllm import ServerSpec, command_line

Plan: TypeAlias = Callable[[VllmEnvironment], ServerSpec]
Command: TypeAlias = tuple[ServerSpec, Sequence[str], Mapping[str, str]]
WITH_VLLM = "experts.launch.ray_server:with_vllm"
PLAN_AGAIN_SECONDS = 30.0
FOR_LOOPBACK_ONLY = ("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_SERVER_DEV_MODE")
"""What opens routes that change a server. Beyond loopback they stay shut: some of them ask for no key."""


def with_vllm(plan: Plan) -> Command:
    """Return the vLLM server that this node would start, its command line and its variables.

    Raises:
        ConfigError: the node has no vLLM, or lacks a folder.
    """
    environment = find_environment()
    if environment is None:
        raise ConfigError("this node has no vLLM environment: run `consilium doctor --fix` there, or pip install vllm")
    spec = plan(environment)
    argv, env = command_line(spec, environment)
    kept = {name: value for name, value in env.items() if name not in FOR_LOOPBACK_ONLY}
    return spec, argv, {**kept, "VLLM_API_KEY": spec.api_key}


class RayServer:
    """The actor. Its methods run on one event loop; Ray calls them from anywhere.

    Args:
        name: the actor's name; also the server's log file's.
        configs, root: what it runs, from `ClusterServer`.
        commands: `module:function` that returns the command, `with_vllm` unless a test says otherwise.
        lease_seconds: how long a silent holder counts.
    """

    def __init__(
        self, name: str, configs: Sequence[Mapping[str, Any]], root: str, commands: str, lease_seconds: float
    ) -> None:
        self.name, self.lease_seconds = name, lease_seconds
        self._configs, self._root, self._commands = configs, Path(root), commands
        self._holders: dict[str, float] = {}
        self._server: SupervisedServer | None = None
        self._failed = Report("failed")
        self._planned_at = 0.0
        self._leaving: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        unasked = threading.Timer(lease_seconds, self._end_if_nobody_ever_asked)
        unasked.daemon = True
        unasked.start()

    async def attend(self, holder: str) -> dict[str, str]:
        """Hold the server and return its `Report` as a mapping; the first one who asks has it started."""
        self._holders[holder] = time.monotonic()
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._leave_when_nobody_holds(), name="lease")
        async with self._turn:
            if self._server is None and self._is_time_to_plan():
                await self._begin()
        return asdict(self._report())

    async def release(self, holder: str) -> bool:
        """Hold the server no more; True when nobody does and it is stopped: the actor may be killed then."""
        self._holders.pop(holder, None)
        if not self._holders:
            await self._stop()
        return not self._holders

    def _end_if_nobody_ever_asked(self) -> None:
        """End an actor whose maker died before it was there, or whose holders died with its last node."""
        if self._leaving is None:
            end_this_actor()

    def _is_time_to_plan(self) -> bool:
        return not self._planned_at or time.monotonic() - self._planned_at > PLAN_AGAIN_SECONDS

    async def _begin(self) -> None:
        """Plan and start the server; what hinders it is in the report, and is tried again later.

        That may be anything: it is another machine, and nobody but the gateway reads what it says.
        """
        self._planned_at = time.monotonic()
        planning = asyncio.create_task(asyncio.to_thread(self._command))
        await asyncio.wait({planning})
        if (error := planning.exception()) is not None:
            said = str(error) if isinstance(error, ServiceError) else f"{type(error).__name__}: {error}"
            self._failed = Report("failed", failure=f"{node_address()}: {said}")
            return
        spec, argv, env = planning.result()
        patience = Patience.on("gpu" if spec.hardware.gpus else "cpu")
        self._server = SupervisedServer(spec, argv, env, log_path(self.name.replace("/", "-")), patience)
        await self._server.start()

    def _command(self) -> Command:
        module, _, function = self._commands.partition(":")
        command = cast(Callable[[Plan], Command], getattr(importlib.import_module(module), function))
        return command(self._plan)

    def _plan(self, environment: VllmEnvironment) -> ServerSpec:
        """Return the server on this node: its address, a key of its own, and what Ray gave the actor."""
        configs = [ExpertConfig.model_validate(config) for config in self._configs]
        ids = given_gpus()
        gpus = [gpu for gpu in visible_gpus() if str(gpu.index) in ids]
        planned = plan_servers(configs, self._root, environment, gpus=gpus)
        if len(planned) != 1:
            raise LaunchError(self.name, f"'{self.name}' is {len(planned)} servers and not one")
        spec, host = planned[0], node_address()
        if environment.kind == "cpu":
            spec = replace(spec, hardware=replace(spec.hardware, threads=given_cpus()))
        return replace(spec, host=host, port=free_port(host), api_key=secrets.token_urlsafe(24))

    def _report(self) -> Report:
        server = self._server
        if server is None:
            return self._failed
        return Report(str(server.state.value), server.spec.base_url, server.spec.api_key, server.failure)

    async def _leave_when_nobody_holds(self) -> None:
        """Stop the server and end the actor once every holder's lease has run out."""
        while True:
            await asyncio.sleep(self.lease_seconds / 10)
            oldest = time.monotonic() - self.lease_seconds
            self._holders = {holder: asked for holder, asked in self._holders.items() if asked > oldest}
            if not self._holders:
                await self._stop()
            if not self._holders:
                end_this_actor()

    async def _stop(self) -> None:
        async with self._turn:
            if self._server is not None and not self._holders:
                await self._server.stop(GRACE_SECONDS)


def node_address() -> str:
    """Return the address under which the other nodes reach this one."""
    from ray.util import get_node_ip_address

    return str(get_node_ip_address())


def given_gpus() -> list[str]:
    """Return the indexes of the GPUs that Ray gave this actor."""
    from ray import get_runtime_context

    return [str(index) for index in get_runtime_context().get_accelerator_ids().get("GPU", [])]


def given_cpus() -> int:
    """Return how many CPUs Ray gave this actor, at least one; no more than the node has."""
    from ray import get_runtime_context

    cpus = float(get_runtime_context().get_assigned_resources().get("CPU", 1))
    return max(1, min(int(cpus), os.cpu_count() or 1))


def end_this_actor() -> None:
    """End the actor that this runs in, for good: Ray does not start it again."""
    import ray

    ray.kill(ray.get_runtime_context().current_actor, no_restart=True)


def free_port(host: str) -> int:
    """Return a port of the system's choice on which nobody listens at `host` just now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.bind((host, 0))
        port: int = trial.getsockname()[1]
        return port
