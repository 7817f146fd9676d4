"""Which GPUs this machine has: `nvidia-smi` is asked. Who gets which is decided in `experts.placement`."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; memory in GiB, `free_gib` at the moment of asking."""

    index: int
    name: str
    total_gib: float
    free_gib: float


def visible_gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs of this machine, or none when `nvidia-smi` is missing or does not answer."""
    if shutil.which("nvidia-smi") is None:
        return ()
    query = ["nvidia-smi", "--query-gpu=index,name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return read_gpu_table(answer.stdout)


def read_gpu_table(table: str) -> tuple[Gpu, ...]:
    """Return the GPUs in `nvidia-smi`'s comma-separated answer; unreadable lines (MIG: "[N/A]") are left out."""
    gpus = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 4 and cells[2].isdigit() and cells[3].isdigit():
            gpus.append(Gpu(int(cells[0]), cells[1], int(cells[2]) / 1024, int(cells[3]) / 1024))
    return tuple(gpus)
