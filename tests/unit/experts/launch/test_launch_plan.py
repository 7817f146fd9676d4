"""Which servers the configured experts need, and what is refused before anything starts."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from experts.config import ExpertConfig
from experts.errors import ConfigError
from experts.launch import Gpu, ServerSpec, VllmEnvironment, plan_servers
from experts.launch.plan import free_ports, port_is_free

CPU = VllmEnvironment(Path("/env/bin/python"), "cpu", "0.32.0")
GPU = VllmEnvironment(Path("/env/bin/python"), "gpu", "0.32.0")


def _launched(name: str, model: str = "org/model", **launch: Any) -> ExpertConfig:
    return ExpertConfig.model_validate({"name": name, "backend": "vllm", "launch": {"model": model, **launch}})


def _adapter(name: str, base: str, path: str, **fields: Any) -> ExpertConfig:
    return ExpertConfig.model_validate({"name": name, "adapter": {"base": base, "path": path}, **fields})


def _remote(name: str) -> ExpertConfig:
    return ExpertConfig.model_validate({"name": name, "replicas": [{"base_url": "http://box:8000/v1"}]})


def _write_adapter(folder: Path, rank: object) -> None:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))


def _write_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")


def _plan(experts: list[ExpertConfig], root: Path) -> tuple[ServerSpec, ...]:
    return plan_servers(experts, root, CPU, first_port=18501)


def test_one_server_for_each_launch_and_none_for_replicas(tmp_path: Path) -> None:
    servers = _plan([_launched("law"), _remote("far"), _launched("code", start_timeout_seconds=5)], tmp_path)
    assert [server.name for server in servers] == ["law", "code"]
    assert len({server.port for server in servers}) == 2
    assert servers[1].start_timeout_seconds == 5


def test_adapters_ride_on_their_base_in_order(tmp_path: Path) -> None:
    _write_adapter(tmp_path / "tax", 8)
    _write_adapter(tmp_path / "tort", 16)
    tax, tort = _adapter("tax", "law", "tax"), _adapter("tort", "law", "./tort", model="tort-v2")
    (server,) = _plan([tax, _launched("law"), tort], tmp_path)
    assert server.experts == ("law", "tax", "tort")
    assert [(a.served_name, a.rank, a.folder) for a in server.adapters] == [
        ("tax", 8, tmp_path / "tax"),
        ("tort-v2", 16, tmp_path / "tort"),
    ]


def test_an_adapter_on_a_remote_base_needs_no_server_of_ours(tmp_path: Path) -> None:
    assert _plan([_remote("far"), _adapter("tax", "far", "anywhere")], tmp_path) == ()


def test_relative_folders_count_from_the_configuration(tmp_path: Path) -> None:
    _write_model(tmp_path / "models" / "law")
    assert _plan([_launched("law", "models/law")], tmp_path)[0].model == str(tmp_path / "models" / "law")


def test_a_name_that_is_no_folder_is_a_hub_name(tmp_path: Path) -> None:
    assert _plan([_launched("law", "org/law-7b")], tmp_path)[0].model == "org/law-7b"


def test_pocket_models_are_found_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experts.launch.plan.weights_folder", lambda: tmp_path / "weights")
    _write_model(tmp_path / "weights" / "base")
    _write_adapter(tmp_path / "weights" / "math", 8)
    experts = [_launched("pocket", "builtin:pocket/base"), _adapter("math", "pocket", "builtin:pocket/math")]
    (server,) = _plan(experts, tmp_path)
    assert server.model == str(tmp_path / "weights" / "base")
    assert server.adapters[0].folder == tmp_path / "weights" / "math"


@pytest.mark.parametrize(
    ("experts", "says"),
    [
        ([_launched("law", "./gone")], "the model of 'law' is .*gone, which does not exist"),
        ([_launched("law", "/gone/too")], "the model of 'law' is /gone/too, which does not exist"),
        ([_launched("law", "empty")], "'law' is .*empty, which has no config.json"),
        ([_launched("law"), _adapter("tax", "law", "gone")], "adapter of 'tax' is .*gone, which does not exist"),
        ([_launched("law"), _adapter("tax", "law", "empty")], "'tax' is .*empty, which has no adapter_config"),
        ([_launched("law"), _adapter("tax", "law", "unranked")], "'tax' does not say its rank"),
        ([_adapter("tax", "law", "good")], "adapter on 'law', which is not an expert here"),
        ([_launched("law", args=["--port=9"])], "'law' sets --port, which the gateway chooses"),
        (
            [_launched("law"), _adapter("tax", "law", "good"), _adapter("vat", "tax", "good")],
            "'tax', which is an adapter itself: set adapter.base to 'law'",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(experts: list[ExpertConfig], says: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    _write_adapter(tmp_path / "good", 8)
    _write_adapter(tmp_path / "unranked", "many")
    with pytest.raises(ConfigError, match=says):
        _plan(experts, tmp_path)


def test_cores_are_shared_and_one_is_kept_for_the_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(9)))
    servers = _plan([_launched("a"), _launched("b")], tmp_path)
    assert [server.hardware.threads for server in servers] == [4, 4]


def test_gpus_are_shared_by_memory(tmp_path: Path) -> None:
    gpus = [Gpu(0, "H", 80, 80), Gpu(1, "H", 80, 80)]
    experts = [_launched("a", gpu_memory_gib=20), _launched("b"), _launched("c", gpu_memory_gib=60)]
    servers = plan_servers(experts, tmp_path, GPU, 18501, gpus=gpus)
    assert [(s.hardware.gpus, s.hardware.gpu_memory_fraction) for s in servers] == [
        ((1,), 0.25),
        ((0,), 0.9),
        ((1,), 0.75),
    ]


def test_busy_ports_are_skipped() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert not port_is_free(port)
        assert next(free_ports(port)) > port
