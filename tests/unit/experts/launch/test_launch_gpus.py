"""Reading nvidia-smi's table and sharing GPUs out."""

from __future__ import annotations

import pytest

from experts.errors import ConfigError
from experts.launch import Gpu
from experts.launch.gpus import Wish, read_gpu_table, share_out

TWO = (Gpu(0, "H", 80, 80), Gpu(1, "H", 80, 80))


def test_the_table_of_nvidia_smi_is_read() -> None:
    table = "0, NVIDIA H200, 143771, 143000\n1, MIG card, [N/A], [N/A]\n\n"
    assert read_gpu_table(table) == (Gpu(0, "NVIDIA H200", 143771 / 1024, 143000 / 1024),)


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ([Wish("a", 1, None)], {"a": ((0,), None)}),
        ([Wish("a", 1, 40), Wish("b", 1, 40)], {"a": ((0,), 0.5), "b": ((1,), 0.5)}),
        ([Wish("a", 2, None)], {"a": ((0, 1), None)}),
        ([Wish("a", 2, 40), Wish("b", 1, 40)], {"a": ((0, 1), 0.5), "b": ((0,), 0.5)}),
    ],
)
def test_each_server_gets_the_emptiest_gpus(
    wishes: list[Wish], expected: dict[str, tuple[tuple[int, ...], float | None]]
) -> None:
    assert share_out(wishes, TWO) == expected


@pytest.mark.parametrize(
    "wishes",
    [
        [Wish("a", 1, 81)],
        [Wish("a", 3, 10)],
        [Wish("x", 1, None), Wish("y", 1, None), Wish("a", 1, None)],
    ],
)
def test_what_does_not_fit_is_refused_with_what_is_left(wishes: list[Wish]) -> None:
    with pytest.raises(ConfigError, match=r"'a' asks for .* what is left is GPU 0: .* GiB, GPU 1: "):
        share_out(wishes, TWO)


def test_without_gpus_in_sight_vllm_chooses() -> None:
    assert share_out([Wish("a", 1, 20)], ()) == {"a": ((), None)}
