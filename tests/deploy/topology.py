"""The services of a profile as processes of this machine: the compose file's own commands, variables and health checks.

What a container would give them is replaced, and nothing else: names of services become 127.0.0.1 and a free port,
volumes become folders, images become the programs they are made of. In the place of an expert stands a fake one, or the
real vLLM of this machine.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.compose_file import ROOT, in_force, load, names_of
from tests.processes import free_port

PORTS = {"redis": 6379, "gateway": 8400, "prometheus": 9090, "grafana": 3000}
EXPERT_PORT = 8000
Started = subprocess.Popen[bytes]


class Topology:
    """Services by name; `start` and `kill` them, ask whether one is `healthy`. `close` ends all.

    Args:
        expert: the program that serves an expert in place of its image, from its service's command and port.
    """

    def __init__(self, profile: str, folder: Path, expert: list[str] | None = None) -> None:
        self.services = dict(load(in_force(profile)).services)
        self.folder = folder
        self.ports = {name: free_port() for name in self.services}
        self._expert = expert
        self._running: dict[str, Started] = {}
        self._named = {alias: name for name, body in self.services.items() for alias in names_of(name, body)}

    def url(self, service: str) -> str:
        """Return where a service listens."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def start(self, service: str) -> None:
        """Start one service; it goes on in the folders that an earlier one of its name left."""
        body = self.services[service]
        command, environment = self._program(service, body)
        told = {key: self.here(str(value)) for key, value in body.get("environment", {}).items()}
        with (self.folder / f"{service}.log").open("ab") as log:
            self._running[service] = subprocess.Popen(
                command,
                cwd=ROOT,
                env={"PATH": _path(), "HOME": str(self.folder), **told, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def healthy(self, service: str) -> bool:
        """Run the service's own health check once."""
        check = [self._in_place(word, service) for word in self.services[service]["healthcheck"]["test"][1:]]
        if check[0] == "redis-cli":
            check[1:1] = ["-p", str(self.ports[service])]
        done = subprocess.run(check, env={"PATH": _path()}, capture_output=True, timeout=30)
        return done.returncode == 0

    def wait_until_healthy(self, service: str, seconds: float = 90) -> None:
        """Wait for a service's health check to pass, or fail with what it wrote."""
        deadline = time.monotonic() + seconds
        while not self.healthy(service):
            ended = self._running[service].poll()
            waiting = ended is None and time.monotonic() < deadline
            assert waiting, f"{service} (exit {ended}):\n{self.log(service)}"
            time.sleep(0.2)

    def kill(self, *services: str) -> None:
        """Kill services with signal 9, and everything they started."""
        for service in services:
            self._end(service, signal.SIGKILL)

    def close(self) -> None:
        """End all of them, the last started first."""
        for service in reversed(list(self._running)):
            self._end(service, signal.SIGTERM)

    def log(self, service: str) -> str:
        """Return the end of what a service wrote."""
        return (self.folder / f"{service}.log").read_text(errors="replace")[-3000:]

    def here(self, text: str) -> str:
        """Return a text with `name:port` of services as they are reached here, and folders of containers as ours."""
        for alias, name in self._named.items():
            port = PORTS.get(alias, EXPERT_PORT)
            text = re.sub(rf"\b{re.escape(alias)}:{port}\b", f"127.0.0.1:{self.ports[name]}", text)
        return text.replace("/etc/consilium/", f"{self._configurations()}/")

    def _in_place(self, word: str, service: str) -> str:
        return re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{self.ports[service]}", word)

    def _program(self, service: str, body: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
        """Return what to run in place of the service's image, and what its own variables do not say."""
        volume = self.folder / f"{service}-volume"
        volume.mkdir(exist_ok=True)
        port = self.ports[service]
        if service == "redis":
            return [*body["command"], "--port", str(port), "--dir", str(volume)], {}
        if service == "prometheus":
            return ["prometheus", *self._prometheus_flags(body["command"], volume)], {}
        if "gateway" in names_of(service, body):
            return [sys.executable, "-m", "gateway", "serve"], {
                "CONSILIUM_PORT": str(port),
                "CONSILIUM_STATE_DIR": str(volume),
            }
        if self._expert is None:
            return [sys.executable, "-m", "tests.fakes.expert", str(port), _models(body["command"])], {}
        return [*self._expert, *_with_port(body["command"], port)], {}

    def _configurations(self) -> Path:
        """Return the gateway's configurations with the addresses of this machine."""
        made = self.folder / "configurations"
        if not made.is_dir():
            made.mkdir()
            for path in (ROOT / "deploy/consilium").glob("*.yaml"):
                (made / path.name).write_text(self.here(path.read_text()))
        return made

    def _prometheus_flags(self, command: Iterable[str], volume: Path) -> list[str]:
        """Return the flags of the compose file; names that DNS would answer become addresses."""
        made = self.folder / "prometheus"
        shutil.copytree(ROOT / "deploy/prometheus", made, dirs_exist_ok=True)
        read = yaml.safe_load((made / "prometheus.yml").read_text())
        read["global"]["scrape_interval"] = "1s"
        for job in read["scrape_configs"]:
            names = [name for lookup in job.pop("dns_sd_configs") for name in lookup["names"]]
            job["static_configs"] = [
                {"targets": [f"127.0.0.1:{self.ports[self._named[name]]}"], "labels": {"__meta_dns_name": name}}
                for name in names
                if name in self._named
            ]
        (made / "prometheus.yml").write_text(yaml.safe_dump(read))
        folders = {"/etc/prometheus": str(made), "=/prometheus": f"={volume}"}
        listening = f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}"
        return [*(_replaced(word, folders) for word in command), listening]

    def _end(self, service: str, number: int) -> None:
        process = self._running.pop(service)
        process.send_signal(number)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _replaced(word: str, folders: Mapping[str, str]) -> str:
    for there, here in folders.items():
        word = word.replace(there, here)
    return word


def _models(command: Iterable[str]) -> str:
    """Return the names that a vLLM of this command serves, comma-separated: its model's, and its adapters'."""
    words = list(command)
    named = [word.partition("=")[2] for word in words if word.startswith("--served-model-name=")]
    return ",".join(
        [*named, *(word.partition("=")[0] for word in words if "=/opt/pocket/" in word and not word.startswith("--"))]
    )


def _with_port(command: Iterable[str], port: int) -> list[str]:
    weights = str(ROOT / "experts/pocket/weights")
    words = [word.replace("/opt/pocket", weights) for word in command]
    return [f"--port={port}" if word.startswith("--port=") else word for word in words]


def _path() -> str:
    """Return the PATH with this interpreter first: the images call it python."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"
