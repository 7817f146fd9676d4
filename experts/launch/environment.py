"""Find the Python that can run vLLM. vLLM is never imported here: it is asked for by name and version.

vLLM pins its own torch and a hundred other packages, so it lives in an environment of its own. The order:

    1. CONSILIUM_VLLM_PYTHON      the operator's own environment
    2. this interpreter           when it has vllm and a GPU is visible (`pip install consilium[vllm]`)
    3. <state>/vllm-cpu-VERSION   the CPU environment that `create_environment` made
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experts.errors import ConfigError
from experts.launch.state import state_folder

PYTHON_VARIABLE = "CONSILIUM_VLLM_PYTHON"
REQUIREMENTS = Path(__file__).parent / "requirements" / "vllm-cpu.txt"
HASHED_REQUIREMENTS = REQUIREMENTS.with_name("vllm-cpu-hashed.txt")
MARKER = "complete"

_ASK_VERSION = """
from importlib import metadata
for name in ("vllm", "vllm-cpu"):
    try:
        print(name, metadata.version(name))
        break
    except metadata.PackageNotFoundError:
        pass
"""


@dataclass(frozen=True, slots=True)
class VllmEnvironment:
    """A Python interpreter that can run `vllm.entrypoints.openai.api_server`, and what it would run on."""

    python: Path
    kind: Literal["gpu", "cpu"]
    version: str


def find_environment() -> VllmEnvironment | None:
    """Return the environment to start vLLM with, or None when this machine has none yet.

    Raises:
        ConfigError: `CONSILIUM_VLLM_PYTHON` is set, but no vLLM is there.
    """
    chosen = os.environ.get(PYTHON_VARIABLE)
    if chosen:
        return _chosen_environment(Path(chosen).expanduser())
    return _own_environment() or created_environment()


def created_environment() -> VllmEnvironment | None:
    """Return the CPU environment in the state folder, or None when it is missing, half-made or outdated."""
    folder = environment_folder()
    python = folder / "bin" / "python"
    marker = folder / MARKER
    if not (python.exists() and marker.is_file() and marker.read_text() == requirements_digest()):
        return None
    return VllmEnvironment(python, "cpu", cpu_version())


def environment_folder() -> Path:
    """Return where the CPU environment is, or would be."""
    return state_folder() / f"vllm-cpu-{cpu_version()}"


def cpu_version() -> str:
    """Return the version of vllm-cpu that the hashed requirements file pins."""
    found = re.search(r"^vllm-cpu==(\S+)", HASHED_REQUIREMENTS.read_text(), re.MULTILINE)
    assert found, "the hashed requirements pin vllm-cpu"
    return found[1]


def requirements_digest() -> str:
    """Return what a complete environment was made from; another digest means it is outdated."""
    lines = REQUIREMENTS.read_text().splitlines() + HASHED_REQUIREMENTS.read_text().splitlines()
    pins = "\n".join(line for line in lines if not line.startswith("#"))
    return hashlib.sha256(pins.encode()).hexdigest()


def gpu_visible() -> bool:
    """Tell whether this machine shows a GPU: a device file of NVIDIA or AMD, or `nvidia-smi` on the path."""
    devices = (*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("kfd"))
    return bool(devices) or shutil.which("nvidia-smi") is not None


def installed_version(python: Path) -> tuple[str, str] | None:
    """Ask an interpreter, without importing anything heavy, for its vLLM: (distribution, version) or None."""
    try:
        answer = subprocess.run([python, "-c", _ASK_VERSION], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    distribution, _, version = answer.stdout.strip().partition(" ")
    return (distribution, version) if version else None


def kind_of(distribution: str, version: str) -> Literal["gpu", "cpu"]:
    """Return what an installed vLLM runs on: a CPU build on the CPU, any other where a GPU is visible."""
    built_for_cpu = distribution == "vllm-cpu" or "cpu" in version
    return "gpu" if gpu_visible() and not built_for_cpu else "cpu"


def _chosen_environment(python: Path) -> VllmEnvironment:
    found = installed_version(python)
    if found is None:
        raise ConfigError(
            f"{PYTHON_VARIABLE} is {python}, which is not a Python with vllm installed: "
            "point it at the environment's bin/python, or unset it"
        )
    return VllmEnvironment(python, kind_of(*found), found[1])


def _own_environment() -> VllmEnvironment | None:
    if not gpu_visible():
        return None
    try:
        version = importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return None
    return VllmEnvironment(Path(sys.executable), kind_of("vllm", version), version)
