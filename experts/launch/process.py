"""Keep one vLLM server running: start it, see it become ready, watch it, start it again when it ends.

    STARTING -> READY -> RESTARTING -> READY ...      a server that ended or hung
       |                     |
       +---- RESTARTING -----+--> FAILED              starts that failed too often; `restart()` tries anew
    any -> STOPPED                                    by `stop()`

What to do when a run ends is decided in `supervision`; the effects are here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from experts.errors import LaunchError
from experts.launch.guarded import GuardedProcess
from experts.launch.plan import port_is_free
from experts.launch.readiness import ServerProbe
from experts.launch.server_log import Stage, failure_in, read_tail, rotate, stage_of
from experts.launch.supervision import Ended, Patience, Tally, after_end, after_probe
from experts.launch.vllm import ServerSpec

GRACE_SECONDS = 20.0
HUNG_GRACE_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 0.5


class ServerState(Enum):
    """What a supervised server is doing."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"

    def describe(self) -> str:
        """Return the state as the end of a sentence that begins with the server's name."""
        return {
            ServerState.STARTING: "is starting",
            ServerState.READY: "is ready",
            ServerState.RESTARTING: "ended and is being started again",
            ServerState.FAILED: "could not be started",
            ServerState.STOPPED: "is stopped",
        }[self]


@dataclass(frozen=True, slots=True)
class ServerProgress:
    """One step of a server's life; `elapsed_seconds` counts from the start of its current run.

    `detail` is the reason after a failure, else empty.
    """

    server: str
    state: ServerState
    stage: Stage = Stage.STARTING
    elapsed_seconds: float = 0.0
    detail: str = ""


class SupervisedServer:
    """One server and the task that keeps it running. Whoever starts it stops it.

    Args:
        spec: the server.
        argv, env: what to run and the variables to add, from `command_line`.
        log: the file the server writes to; rotated at each start.
        patience: when to restart and when to give up.
        progress: told of every change, on the event loop; must return at once.
    """

    def __init__(
        self,
        spec: ServerSpec,
        argv: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        progress: Callable[[ServerProgress], None] | None = None,
    ) -> None:
        self.spec = spec
        self.log = log
        self.progress = ServerProgress(spec.name, ServerState.STARTING)
        self.guard_pid: int | None = None
        self._argv, self._env = tuple(argv), dict(env)
        self._patience = patience
        self._tell = progress or (lambda _: None)
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failure = ""
        self._run_began = 0.0
        self._ready_since: float | None = None
        self._grace_seconds = GRACE_SECONDS

    @property
    def state(self) -> ServerState:
        """What the server is doing now."""
        return self.progress.state

    @property
    def failure(self) -> str:
        """Why the last run ended, as a sentence with the log's place; empty while all is well."""
        return self._failure

    def prepare(self, spec: ServerSpec, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Say what the next run is to be; the one that runs stays as it is."""
        self.spec, self._argv, self._env = spec, tuple(argv), dict(env)

    async def start(self) -> None:
        """Begin to run the server; returns at once. A server that runs already is left alone."""
        if self._task is None or self._task.done():
            self._failure, self._run_began = "", time.monotonic()
            self.progress = ServerProgress(self.spec.name, ServerState.STARTING)
            self._tell(self.progress)
            self._task = asyncio.create_task(self._supervise(), name=f"server {self.spec.name}")

    async def wait_ready(self, timeout_seconds: float, *, through_restarts: bool = False) -> None:
        """Wait until the server answers.

        Unless `through_restarts`, the first failed start ends the waiting (it is still tried again behind).

        Raises:
            LaunchError: it failed, with the log's last meaningful line, or it took too long.
        """
        waiting = {ServerState.STARTING} | ({ServerState.RESTARTING} if through_restarts else set())
        try:
            async with asyncio.timeout(timeout_seconds):
                while self.state in waiting:
                    await self._changed.wait()
        except TimeoutError:
            stage = self.progress.stage.value
            raise self._error(f"was not ready within {timeout_seconds:.0f} s ({stage}); log: {self.log}") from None
        if self.state is not ServerState.READY:
            raise self._error(self._failure or self.state.describe())

    async def restart(self) -> None:
        """Stop the server if it runs, and start it with a clean record."""
        await self.stop()
        await self.start()

    async def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Take the server down with everything below it; returns when nothing is left."""
        self._grace_seconds = grace_seconds
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        self._become(ServerState.STOPPED)

    async def _supervise(self) -> None:
        tally = Tally()
        while True:
            ended = await self._run_once()
            tally, instruction = after_end(tally, ended, self._patience)
            verb = "could not be started" if ended.ready_seconds is None else "ended"
            self._failure = f"{verb}: {ended.reason}; log: {self.log}"
            if not instruction.restart:
                self._become(ServerState.FAILED, detail=self._failure)
                return
            self._become(ServerState.RESTARTING, detail=self._failure)
            await asyncio.sleep(instruction.delay_seconds)

    async def _run_once(self) -> Ended:
        """Run the server until it ends, hangs or fails to start; nothing of it is left afterwards."""
        self._ready_since, self._run_began, self._grace_seconds = None, time.monotonic(), GRACE_SECONDS
        if not port_is_free(self.spec.port, self.spec.host):
            return Ended(f"port {self.spec.port} is in use by another program")
        try:
            rotate(self.log)
            process = await GuardedProcess.start(self._argv, self._env, self.log)
        except OSError as error:
            return Ended(f"{error.strerror or error}: {error.filename or self._argv[0]}")
        self.guard_pid = process.guard_pid
        try:
            async with ServerProbe(self.spec) as probe:
                return await self._watch(process, probe)
        finally:
            await process.stop(self._grace_seconds)
            self.guard_pid = None

    async def _watch(self, process: GuardedProcess, probe: ServerProbe) -> Ended:
        """Return how the run ended: the process's exit is seen at once, a hang after some missed probes."""
        exits = asyncio.create_task(process.wait())
        attends = asyncio.create_task(self._attend(probe))
        try:
            await asyncio.wait({exits, attends}, return_when=asyncio.FIRST_COMPLETED)
            reason = self._exit_reason(exits.result()) if exits.done() else attends.result()
        finally:
            exits.cancel()
            attends.cancel()
            await asyncio.wait({exits, attends})
        ready = None if self._ready_since is None else time.monotonic() - self._ready_since
        return Ended(reason, ready)

    async def _attend(self, probe: ServerProbe) -> str:
        """See the server become ready, then probe it; return what is wrong with it."""
        try:
            async with asyncio.timeout(self.spec.start_timeout_seconds):
                await self._come_up(probe)
        except TimeoutError:
            stage = self.progress.stage.value
            return f"not ready within {self.spec.start_timeout_seconds:.0f} s, still {stage}"
        self._ready_since, self._failure = time.monotonic(), ""
        self._become(ServerState.READY, Stage.READY)
        misses, hung = 0, False
        while not hung:
            await asyncio.sleep(self._patience.probe_every_seconds)
            answered = await probe.is_healthy(self._patience.probe_timeout_seconds)
            misses, hung = after_probe(misses, answered, self._patience)
        self._grace_seconds = HUNG_GRACE_SECONDS
        return f"hung: {misses} health checks in a row unanswered"

    async def _come_up(self, probe: ServerProbe) -> None:
        """Return once the server lists its models and has written a token."""
        timeout_seconds = self._patience.probe_timeout_seconds
        while True:
            if await probe.is_healthy(timeout_seconds) and await probe.serves_its_models(timeout_seconds):
                self._become(self.state, Stage.WARMING, self._failure)
                if await probe.writes_a_token():
                    return
            else:
                self._become(self.state, stage_of(read_tail(self.log)), self._failure)
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    def _exit_reason(self, code: int) -> str:
        killed = f" (killed by signal {code - 128}{', out of memory?' if code == 137 else ''})" if code > 128 else ""
        return f"it ended with code {code}{killed}: {failure_in(read_tail(self.log))}"

    def _become(self, state: ServerState, stage: Stage = Stage.STARTING, detail: str = "") -> None:
        """Note and tell a change; the same state and stage again is not one."""
        elapsed_seconds = time.monotonic() - self._run_began
        changed = (state, stage) != (self.progress.state, self.progress.stage)
        self.progress = ServerProgress(self.spec.name, state, stage, elapsed_seconds, detail)
        if changed:
            self._tell(self.progress)
            self._changed.set()
            self._changed = asyncio.Event()

    def _error(self, what: str) -> LaunchError:
        return LaunchError(self.spec.name, f"the server of '{self.spec.name}' {what}")
