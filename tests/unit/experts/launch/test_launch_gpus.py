"""Reading nvidia-smi's table."""

from __future__ import annotations

from experts.launch import Gpu
from experts.launch.gpus import read_gpu_table


def test_the_table_of_nvidia_smi_is_read() -> None:
    table = "0, NVIDIA H200, 143771, 143000\n1, MIG card, [N/A], [N/A]\n\n"
    assert read_gpu_table(table) == (Gpu(0, "NVIDIA H200", 143771 / 1024, 143000 / 1024),)
