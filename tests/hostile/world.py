"""A gateway that is to be attacked: in a thread of its own, watched for files, addresses, secrets and tracebacks.

What it opens and whom it calls is seen by an audit hook; what it logs by a handler. Attackers hold a client's key
(`MALLORY`), another client's data is `ALICE`'s, and nobody has the admin key but the tests that say so.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from gateway.app import create_app
from gateway.cli.server import Server, listening_socket, run, running
from gateway.configuration import GatewayConfig
from gateway.logs import JsonLines
from gateway.settings import Settings
from tests.fakes.encoder import FakeEncoder
from tests.fakes.expert import FakeExpert, serving

ADMIN, ALICE, MALLORY = "admin-8c1f02d4-secret", "alice-51aa77e0-secret", "mallory-90bd3c11-secret"
UPSTREAM_KEY = "upstream-2f6e88aa-secret"
SECRETS = (ADMIN, ALICE, MALLORY, UPSTREAM_KEY)
LARGEST_BODY, LARGEST_FILE = 128 * 1024, 256 * 1024
PATIENCE_SECONDS = 1.2
"""The attacked gateway's, for slow clients."""
READABLE = (sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), str(Path(__file__).parents[2]))
SYSTEM = ("/proc/", "/sys/", "/dev/null", "/dev/urandom", "/etc/", "/usr/share/zoneinfo")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass
class Watch:
    """What the gateway's threads opened and called while it ran, and what it logged."""

    opened: list[tuple[str, bool]] = field(default_factory=list)
    called: list[tuple[str, int]] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    on: bool = False

    def note(self, event: str, told: tuple[Any, ...]) -> None:
        """Take one of Python's audit events, from the gateway's threads only."""
        thread = threading.current_thread()
        if not self.on or not (thread.ident in self.threads or thread.name.startswith("attacked")):
            return
        if event == "open" and isinstance(told[0], str | bytes):
            writes = bool((told[2] or 0) & WRITING)
            self.opened.append((os.fsdecode(told[0]), writes))
        elif event == "socket.connect" and isinstance(told[1], tuple):
            self.called.append((str(told[1][0]), int(told[1][1])))
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn"):
            self.ran.append(f"{event} {told[0]}")

    def strange_files(self, folder: Path) -> list[str]:
        """Return what was opened that the gateway has no business with: writes outside its folder, reads elsewhere."""
        strange = []
        for path, writes in self.opened:
            whole = os.path.abspath(path)
            ours = whole.startswith(str(folder))
            compiled = "__pycache__" in whole
            known = whole.startswith((*READABLE, *SYSTEM)) and not writes
            if not (ours or known or compiled):
                strange.append(f"{'wrote' if writes else 'read'} {path}")
        return strange


WATCH = Watch()
sys.addaudithook(WATCH.note)


def said_back(body: dict[str, Any]) -> str:
    """Answer with the last message, whatever it is."""
    return f"you said: {body['messages'][-1].get('content')}"


class Lines(logging.Handler):
    """Keeps every log line as it would be written."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


@dataclass(frozen=True, slots=True)
class Target:
    """The gateway under attack."""

    host: str
    port: int
    folder: Path
    watch: Watch
    expert: FakeExpert

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def client(self, key: str = MALLORY, **more: Any) -> httpx.Client:
        """Return a client with a key; the caller closes it."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, **more)

    def bugs(self) -> list[str]:
        """Return the log lines that tell of a bug or show a traceback."""
        return [line for line in self.watch.lines if '"exception"' in line or "Traceback" in line]

    def leaks(self, prompts: tuple[str, ...] = ()) -> list[str]:
        """Return the log lines that have a secret or a prompt in them."""
        return [line for line in self.watch.lines if any(each in line for each in (*SECRETS, *prompts))]

    def strange_calls(self) -> list[tuple[str, int]]:
        """Return whom the gateway called that is not its expert."""
        expert = httpx.URL(self.expert.url)
        return [each for each in self.watch.called if each != (expert.host, expert.port)]


@contextmanager
def attacked(**sections: Any) -> Iterator[Target]:
    """Run a gateway with keys, two experts and small limits, in a thread; yields it once it answers."""
    with tempfile.TemporaryDirectory() as name:
        folder, up, stop = Path(name), threading.Event(), threading.Event()
        found: list[Target] = []
        failed: list[BaseException] = []

        def work() -> None:
            WATCH.threads.add(threading.get_ident())
            try:
                run(_serve(folder, sections, found, up, stop))
            except BaseException as error:
                failed.append(error)
                raise
            finally:
                WATCH.threads.discard(threading.get_ident())
                up.set()

        former = os.environ.get("CONSILIUM_STATE_DIR")
        os.environ["CONSILIUM_STATE_DIR"] = str(folder)
        thread = threading.Thread(target=work, name="attacked gateway")
        thread.start()
        try:
            assert up.wait(60)
            assert not failed, failed
            yield found[0]
        finally:
            stop.set()
            thread.join(60)
            if former is None:
                del os.environ["CONSILIUM_STATE_DIR"]
            else:
                os.environ["CONSILIUM_STATE_DIR"] = former


async def _serve(
    folder: Path, sections: dict[str, Any], found: list[Target], up: threading.Event, stop: threading.Event
) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="attacked"))
    config, expert = _config(sections), FakeExpert(models=("math", "prose"), reply=said_back)
    async with serving(expert):
        replica = {"base_url": expert.url, "api_key": UPSTREAM_KEY}
        experts = [{"name": name, "replicas": [replica], "domains": [name]} for name in ("math", "prose")]
        read = GatewayConfig.model_validate({"experts": experts, **config})
        app = create_app(_settings(folder), read, folder, encoder=FakeEncoder())
        async with running(Server(_settings(folder), app), listening_socket("127.0.0.1", 0)) as url:
            place = httpx.URL(url)
            await _answering(url)
            with _watched() as watch:
                found.append(Target(place.host, place.port or 0, folder, watch, expert))
                up.set()
                await asyncio.to_thread(stop.wait)


def _config(sections: dict[str, Any]) -> dict[str, Any]:
    return {**sections, "routing": {"budget_ms": 10_000, **sections.get("routing", {})}}


def _settings(folder: Path) -> Settings:
    return Settings.model_validate(
        {
            "api_keys": f"{ALICE},{MALLORY}",
            "admin_key": ADMIN,
            "store": str(folder / "consilium.db"),
            "max_body_bytes": LARGEST_BODY,
            "max_file_bytes": LARGEST_FILE,
            "keep_alive_seconds": 0.5,
            "slow_client_seconds": PATIENCE_SECONDS,
        }
    )


async def _answering(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        for _ in range(200):
            if (await client.get("/health")).status_code == 200:
                return
            await asyncio.sleep(0.05)
    raise AssertionError("the gateway did not come up")


@contextmanager
def _watched() -> Iterator[Watch]:
    """Watch from now on, with an empty sheet."""
    root, handler = logging.getLogger(), Lines(WATCH.lines)
    for sheet in (WATCH.opened, WATCH.called, WATCH.ran, WATCH.lines):
        sheet.clear()
    levels = {room: logging.getLogger(room).level for room in ("gateway", "router", "experts", "aggregator")}
    for room in levels:
        logging.getLogger(room).setLevel(logging.DEBUG)
    root.addHandler(handler)
    WATCH.on = True
    try:
        yield WATCH
    finally:
        WATCH.on = False
        root.removeHandler(handler)
        for room, level in levels.items():
            logging.getLogger(room).setLevel(level)
