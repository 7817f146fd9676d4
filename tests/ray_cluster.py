"""A Ray cluster of several nodes on this machine, that a test can take nodes from. Ray stays in its process.

    python -m tests.ray_cluster NODES        says {"address": ..., "raylets": [pid, ...]}, then waits for its input

`kill N` kills a node without a word to anybody; the end of the input takes everything down.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
        self._commands = process.stdin
        told: dict[str, Any] = json.loads(process.stdout.readline())
        self.address: str = told["address"]
        self._raylets: list[int] = told["raylets"]

    def node_of(self, port: int) -> int:
        """Return the number of the node on which a server listens."""
        listening = [each.pid for each in psutil.net_connections("tcp") if each.laddr and each.laddr.port == port]
        parents = {parent.pid for pid in listening if pid for parent in psutil.Process(pid).parents()}
        return next(number for number, raylet in enumerate(self._raylets) if raylet in parents)

    def kill(self, node: int) -> None:
        """Kill a node."""
        self._commands.write(f"kill {node}\n")
        self._commands.flush()


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
        raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
        print(json.dumps({"address": cluster.address, "raylets": raylets}), file=out, flush=True)
        for line in sys.stdin:
            cluster.remove_node(nodes[int(line.split()[1])], allow_graceful=False)
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
