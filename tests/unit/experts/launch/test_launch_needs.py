"""How much memory a server needs, and what doctor shows of the plan."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from experts.config import ExpertConfig
from experts.errors import ConfigError
from experts.launch.needs import kv_gib, need_on_cpu, need_on_gpu, parameter_count, weights_gib
from experts.launch.plan import described_servers
from experts.launch.survey import survey, thought_up
from gateway.cli import app

LLAMA_8B: dict[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
}
LLAMA_70B = {
    **LLAMA_8B,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
}
MIXTRAL = {**LLAMA_8B, "vocab_size": 32000, "num_local_experts": 8}


def write_model(folder: Path, config: dict[str, Any], tensors: dict[str, tuple[str, list[int]]] | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    if tensors:
        entries = {name: {"dtype": dtype, "shape": shape} for name, (dtype, shape) in tensors.items()}
        header = json.dumps({"__metadata__": {}, **entries}).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return folder


def launched(name: str, model: str, **launch: Any) -> ExpertConfig:
    return ExpertConfig.model_validate({"name": name, "backend": "vllm", "launch": {"model": model, **launch}})


@pytest.mark.parametrize(
    ("config", "billions"),
    [(LLAMA_8B, 8.03), (LLAMA_70B, 70.55), (MIXTRAL, 46.7), ({"text_config": LLAMA_8B}, 0), ({"hidden_size": 8}, 0)],
)
def test_parameters_are_counted_from_the_description(config: dict[str, Any], billions: float) -> None:
    assert parameter_count(config) / 1e9 == pytest.approx(billions, rel=0.003)


def test_the_cache_holds_one_whole_context_or_32768_tokens() -> None:
    assert kv_gib(LLAMA_8B) == pytest.approx(4.0)
    assert kv_gib({**LLAMA_8B, "max_position_embeddings": 131072}) == pytest.approx(16.0)
    assert kv_gib({**LLAMA_8B, "max_position_embeddings": 131072}, "8192") == pytest.approx(4.0)
    assert kv_gib(LLAMA_8B, None, 65536) == pytest.approx(8.0)
    assert kv_gib({}) == 0


def test_weights_are_counted_from_the_headers_as_they_are_loaded(tmp_path: Path) -> None:
    tensors = {"a": ("BF16", [1024, 1024]), "b": ("F32", [1024, 1024]), "c": ("I8", [1024, 1024])}
    folder = write_model(tmp_path / "m", LLAMA_8B, tensors)
    assert weights_gib(folder) == pytest.approx(5 / 1024)
    assert weights_gib(folder, ["--dtype", "float32"]) == pytest.approx(10 / 1024)
    assert weights_gib(write_model(tmp_path / "bare", LLAMA_8B)) == pytest.approx(14.96, rel=0.003)
    assert weights_gib(tmp_path / "nowhere") is None


def test_a_server_needs_weights_cache_adapters_and_overhead(tmp_path: Path) -> None:
    write_model(tmp_path / "m", {"text_config": LLAMA_8B})
    write_model(tmp_path / "tax", {}, None)
    (tmp_path / "tax" / "adapter_config.json").write_text('{"r": 8}')
    (tmp_path / "tax" / "adapter_model.safetensors").write_bytes(bytes(2**20))
    tax = ExpertConfig.model_validate({"name": "tax", "adapter": {"base": "law", "path": "tax"}})
    law = launched("law", "./m", gpus=2, gpu_memory_gib=30, max_adapters=4)
    (server,) = described_servers([law, tax], tmp_path)
    need = need_on_gpu(server.spec, server.launch)
    assert need.weights_gib == pytest.approx(14.96 + 4 / 1024, rel=0.003)
    assert (need.gpus, need.fixed_gib, need.heads, need.kv_heads) == (2, 30, 32, 8)
    on_cpu = need_on_cpu(server.spec, server.launch)
    assert (on_cpu.gpus, on_cpu.fixed_gib, on_cpu.kv_gib) == (1, None, 1.0)


def test_how_many_gpus_is_ours_to_choose_unless_it_is_written() -> None:
    (server,) = described_servers([launched("law", "org/model")], Path("."))
    assert need_on_gpu(server.spec, server.launch).gpus is None
    assert need_on_gpu(server.spec, server.launch).weights_gib is None


def test_large_models_are_spread_over_gpus_that_are_thought_up(tmp_path: Path) -> None:
    write_model(tmp_path / "small", LLAMA_8B)
    write_model(tmp_path / "large", LLAMA_70B)
    experts = [launched("small", "./small"), launched("large", "./large")]
    found = survey(experts, tmp_path, thought_up("4x80"))
    assert [(row.expert, row.devices) for row in found.servers] == [
        ("small", ("GPU 2",)),
        ("large", ("GPU 0", "GPU 1")),
    ]
    assert found.left_gib["GPU 3"] == 80
    with pytest.raises(ConfigError, match=r"'large' 1\d\d\.\d GiB or .* on each of 2"):
        survey(experts, tmp_path, thought_up("2x24"))


@pytest.mark.parametrize("boxes", ["", "24", "0x24", "2x", "2x24,x", "2x0"])
def test_what_describes_no_gpus_is_refused(boxes: str) -> None:
    with pytest.raises(ConfigError, match="describes no GPUs"):
        thought_up(boxes)


def test_gpus_of_several_sizes_are_numbered_through() -> None:
    assert [(each.index, each.total_gib) for each in thought_up("1x80,2x24")] == [(0, 80), (1, 24), (2, 24)]


def test_doctor_shows_the_plan_without_looking_at_the_machine() -> None:
    shown = CliRunner().invoke(app, ["doctor", "--config", "builtin:pocket", "--gpus", "2x24", "--json"])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.output)
    assert found["checks"] == []
    (base,) = found["plan"]["servers"]
    assert (base["expert"], base["devices"]) == ("base", ["GPU 0"])
    assert found["plan"]["left_gib"]["GPU 1"] == 24
