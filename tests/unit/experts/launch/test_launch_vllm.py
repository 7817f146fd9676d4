"""The command line of a server: a table of specs and what must be in the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experts.launch import Adapter, Hardware, ServerSpec, VllmEnvironment, command_line
from experts.launch.vllm import lora_rank

CPU = VllmEnvironment(Path("/env/bin/python"), "cpu", "0.32.0")
GPU = VllmEnvironment(Path("/env/bin/python"), "gpu", "0.32.0")


def _spec(**changes: Any) -> ServerSpec:
    plain: dict[str, Any] = {"name": "law", "model": "org/law-7b", "served_name": "law", "port": 8501}
    return ServerSpec(**{**plain, **changes})


def test_every_server_listens_on_loopback_under_its_served_name() -> None:
    argv, _ = command_line(_spec(), GPU)
    assert argv[:3] == ["/env/bin/python", "-m", "vllm.entrypoints.openai.api_server"]
    assert argv[3:11] == [
        *("--model", "org/law-7b", "--served-model-name", "law"),
        *("--host", "127.0.0.1", "--port", "8501"),
    ]


@pytest.mark.parametrize(
    ("environment", "hardware", "expected", "unexpected"),
    [
        (CPU, Hardware(threads=3), "--enforce-eager --dtype bfloat16", "--gpu-memory-utilization"),
        (GPU, Hardware((1,), 0.25), "--gpu-memory-utilization 0.250", "--tensor-parallel-size"),
        (GPU, Hardware((0, 2), None), "--tensor-parallel-size 2", "--gpu-memory-utilization"),
        (GPU, Hardware(), "--port 8501", "--enforce-eager"),
    ],
)
def test_hardware_becomes_arguments(
    environment: VllmEnvironment, hardware: Hardware, expected: str, unexpected: str
) -> None:
    line = " ".join(command_line(_spec(hardware=hardware), environment)[0])
    assert expected in line
    assert unexpected not in line


def test_gpus_are_chosen_by_cuda_visible_devices() -> None:
    assert command_line(_spec(hardware=Hardware((0, 2))), GPU)[1]["CUDA_VISIBLE_DEVICES"] == "0,2"
    assert "CUDA_VISIBLE_DEVICES" not in command_line(_spec(), GPU)[1]


def test_nothing_is_compiled_on_a_cpu() -> None:
    assert command_line(_spec(), CPU)[1]["TORCH_COMPILE_DISABLE"] == "1"
    assert "TORCH_COMPILE_DISABLE" not in command_line(_spec(), GPU)[1]


def test_cpu_servers_keep_to_their_threads() -> None:
    env = command_line(_spec(hardware=Hardware(threads=3)), CPU)[1]
    assert (env["OMP_NUM_THREADS"], env["VLLM_CPU_OMP_THREADS_BIND"]) == ("3", "nobind")
    assert env["VLLM_CPU_KVCACHE_SPACE"] == "1"


@pytest.mark.parametrize(("model", "offline"), [("/models/law", "1"), ("org/law-7b", None)])
def test_a_folder_is_served_without_asking_a_hub(model: str, offline: str | None) -> None:
    assert command_line(_spec(model=model), CPU)[1].get("HF_HUB_OFFLINE") == offline


def test_no_usage_statistics_are_sent() -> None:
    env = command_line(_spec(), GPU)[1]
    assert (env["VLLM_NO_USAGE_STATS"], env["DO_NOT_TRACK"]) == ("1", "1")


def test_adapters_ride_along_under_their_own_names() -> None:
    adapters = (Adapter("tax", "tax", Path("/a/tax"), 8), Adapter("tort", "tort-v2", Path("/a/tort"), 12))
    argv, env = command_line(_spec(adapters=adapters), CPU)
    assert "--enable-lora" in argv
    assert argv[argv.index("--max-lora-rank") + 1] == "16"
    assert argv[argv.index("--max-loras") + 1] == "3"
    modules = [json.loads(module) for module in argv[argv.index("--lora-modules") + 1 :][:2]]
    assert [(m["name"], m["path"], m["base_model_name"]) for m in modules] == [
        ("tax", "/a/tax", "law"),
        ("tort-v2", "/a/tort", "law"),
    ]
    assert env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"


def test_on_a_cpu_one_slot_stays_empty_so_that_the_base_answers_as_itself() -> None:
    adapters = tuple(Adapter(f"e{n}", f"e{n}", Path("/a"), 8) for n in range(20))
    argv, _ = command_line(_spec(adapters=adapters), CPU)
    assert argv[argv.index("--max-loras") + 1] == argv[argv.index("--max-cpu-loras") + 1] == "21"


def test_many_adapters_share_eight_places_on_a_gpu() -> None:
    adapters = tuple(Adapter(f"e{n}", f"e{n}", Path("/a"), 8) for n in range(20))
    argv, _ = command_line(_spec(adapters=adapters), GPU)
    assert argv[argv.index("--max-loras") + 1] == "8"
    assert argv[argv.index("--max-cpu-loras") + 1] == "20"


def test_the_operators_arguments_come_last_and_the_operators_variables_win() -> None:
    argv, env = command_line(_spec(args=("--dtype", "float32"), env={"OMP_NUM_THREADS": "7"}), CPU)
    assert argv[-2:] == ["--dtype", "float32"]
    assert env["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(("rank", "expected"), [(1, 1), (2, 8), (8, 8), (9, 16), (300, 320), (512, 512)])
def test_lora_rank_is_the_next_value_vllm_allows(rank: int, expected: int) -> None:
    assert lora_rank(rank) == expected


def test_a_spec_knows_its_experts_and_its_url() -> None:
    spec = _spec(adapters=(Adapter("tax", "tax", Path("/a/tax"), 8),))
    assert spec.experts == ("law", "tax")
    assert spec.base_url == "http://127.0.0.1:8501/v1"
