"""Which GPUs this machine has, and which of them a server gets.

Reading them asks `nvidia-smi`; sharing them out is pure, first come first served in the configuration's order.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from experts.errors import ConfigError

DEFAULT_FRACTION = 0.9
"""The share of each GPU a server takes when the configuration names none: vLLM's own default."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; memory in GiB, `free_gib` at the moment of asking."""

    index: int
    name: str
    total_gib: float
    free_gib: float


@dataclass(frozen=True, slots=True)
class Wish:
    """What one server asks for: so many GPUs, and memory on each of them (None: vLLM's default share)."""

    server: str
    gpus: int
    gib: float | None


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


def share_out(wishes: Sequence[Wish], gpus: Sequence[Gpu]) -> dict[str, tuple[tuple[int, ...], float | None]]:
    """Return for each server its GPU indexes and the fraction of their memory it takes.

    Each server gets the GPUs with the most memory not yet promised. A machine that shows no GPUs to us
    (`gpus` empty) leaves the choice to vLLM.

    Raises:
        ConfigError: a server does not fit beside those before it.
    """
    if not gpus:
        return {wish.server: ((), None) for wish in wishes}
    left = {gpu.index: gpu.total_gib for gpu in gpus}
    total = {gpu.index: gpu.total_gib for gpu in gpus}
    shared = {}
    for wish in wishes:
        chosen = sorted(left, key=lambda index: -left[index])[: max(wish.gpus, 1)]
        fractions = [(wish.gib or DEFAULT_FRACTION * total[index]) / total[index] for index in chosen]
        _refuse_overfull(wish, chosen, fractions, left, total)
        for index, fraction in zip(chosen, fractions, strict=True):
            left[index] -= fraction * total[index]
        shared[wish.server] = (tuple(sorted(chosen)), round(max(fractions), 3) if wish.gib else None)
    return shared


def _refuse_overfull(
    wish: Wish,
    chosen: Sequence[int],
    fractions: Sequence[float],
    left: dict[int, float],
    total: dict[int, float],
) -> None:
    enough = all(
        fraction * total[index] <= left[index] + 1e-6 for index, fraction in zip(chosen, fractions, strict=True)
    )
    if len(chosen) < wish.gpus or not enough:
        room = ", ".join(f"GPU {index}: {gib:.0f} GiB" for index, gib in sorted(left.items()))
        asked = f"{wish.gib:g} GiB" if wish.gib else f"{DEFAULT_FRACTION:.0%} of the memory"
        raise ConfigError(
            f"'{wish.server}' asks for {wish.gpus} GPU(s) with {asked} each, and what is left is {room}: "
            "set a smaller launch.gpu_memory_gib, or run it on another machine under replicas"
        )
