"""A Ray cluster of several nodes on this machine, that a test can take nodes from. Ray stays in its process.

    python -m tests.ray_cluster NODES        says {"address": ..., "raylets": [pid, ...]}, then waits for its input

`kill N` kills a node without a word to anybody, `add NAME` adds one that has one of the resource NAME, `clear` ends
every actor; each says a line of JSON when done. The end of the input takes everything down.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from tests.processes import ROOT

SMALL = {"include_dashboard": False, "object_store_memory": 80 * 2**20}
QUICK = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
"""A dead node is noticed after two seconds; Ray's own settings take some twenty."""


class RayCluster:
    """A running cluster: a head without room for servers, and nodes with two CPUs each."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._commands, self._said = process.stdin, process.stdout
        told: dict[str, Any] = json.loads(self._said.readline())
        self.address: str = told["address"]
        self._raylets: list[int] = told["raylets"]

    def node_of(self, port: int) -> int:
        """Return the number of the node on which a server listens."""
        parents = {parent.pid for parent in _above(port)}
        return next(number for number, raylet in enumerate(self._raylets) if raylet in parents)

    def actor_of(self, port: int) -> psutil.Process:
        """Return the process of the actor whose server listens at this port."""
        return next(process for process in _above(port) if process.ppid() in self._raylets)

    def kill(self, node: int) -> None:
        """Kill a node."""
        self._do(f"kill {node}")

    def add(self, resource: str) -> int:
        """Add a node that has one of a custom resource too; return its number."""
        self._raylets.append(self._do(f"add {resource}"))
        return len(self._raylets) - 1

    def clear(self) -> None:
        """End whatever actor there is, and wait until nothing is taken."""
        self._do("clear")

    def _do(self, command: str) -> Any:
        self._commands.write(f"{command}\n")
        self._commands.flush()
        return json.loads(self._said.readline())


def _above(port: int) -> list[psutil.Process]:
    listening = [each.pid for each in psutil.net_connections("tcp") if each.laddr and each.laddr.port == port]
    return [parent for pid in listening if pid for parent in psutil.Process(pid).parents()]


@contextmanager
def ray_cluster(nodes: int) -> Iterator[RayCluster]:
    """Run a cluster until left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.ray_cluster", str(nodes)],
        cwd=ROOT,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield RayCluster(process)
    finally:
        process.communicate(timeout=60)


def main(count: int) -> None:
    """Run a cluster until the input ends."""
    from ray.cluster_utils import Cluster

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    folder = tempfile.mkdtemp(prefix="ray")
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "temp_dir": folder, "_system_config": QUICK, **SMALL}
    )
    try:
        nodes = [cluster.add_node(num_cpus=2, **SMALL) for _ in range(count)]
        cluster.connect()
        told: Any = {"address": cluster.address, "raylets": [raylet_of(node) for node in nodes]}
        print(json.dumps(told), file=out, flush=True)
        for line in sys.stdin:
            print(json.dumps(obey(line.split(), cluster, nodes)), file=out, flush=True)
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def obey(command: list[str], cluster: Any, nodes: list[Any]) -> Any:
    """Do what a line of input says; return what is to be answered."""
    match command:
        case ["kill", number]:
            cluster.remove_node(nodes[int(number)], allow_graceful=False)
        case ["add", resource]:
            nodes.append(cluster.add_node(num_cpus=2, resources={resource: 1}, **SMALL))
            return raylet_of(nodes[-1])
        case ["clear"]:
            end_all_actors()
    return None


def raylet_of(node: Any) -> int:
    """Return the process id of a node's raylet."""
    pid: int = node.all_processes["raylet"][0].process.pid
    return pid


def end_all_actors() -> None:
    """End every named actor, and wait until no CPU of the cluster is taken; 30 s at most."""
    import ray

    deadline = time.monotonic() + 30
    for each in ray.util.list_named_actors(all_namespaces=True):
        with suppress(ValueError):
            ray.kill(ray.get_actor(each["name"], each["namespace"]), no_restart=True)
    while ray.available_resources().get("CPU", 0) < ray.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
