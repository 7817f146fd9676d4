"""What doctor finds: each check is well or comes with its mend."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from experts.launch import Gpu, all_checks, check_port, checks


@pytest.fixture(autouse=True)
def _own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("CONSILIUM_REDIS_URL", raising=False)
    monkeypatch.delenv("CONSILIUM_VLLM_PYTHON", raising=False)


def test_every_check_is_well_or_comes_with_a_mend() -> None:
    found = all_checks()
    assert len({check.name for check in found}) == len(found)
    assert all(check.detail and (check.ok or check.mend) for check in found)


def test_a_port_in_use_is_found() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        check = check_port("127.0.0.1", port)
    assert (check.ok, check.detail) == (False, f"127.0.0.1:{port} is in use")
    assert check_port("127.0.0.1", port).ok


def test_too_little_disk_and_memory_are_found() -> None:
    assert not checks.check_disk(needed_gib=1e9).ok
    assert not checks.check_memory(needed_gib=1e9).ok


def test_a_missing_vllm_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    check = checks.check_vllm()
    assert (check.ok, check.detail) == (False, "not installed here")
    monkeypatch.setenv("CONSILIUM_VLLM_PYTHON", "/no/such/python")
    assert "CONSILIUM_VLLM_PYTHON" in checks.check_vllm().mend


def test_gpus_are_listed_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "visible_gpus", lambda: (Gpu(0, "NVIDIA H200", 140, 139),))
    assert checks.check_gpus().detail == "0: NVIDIA H200, 139 of 140 GiB free"


def test_redis_is_asked_only_when_it_is_used() -> None:
    assert checks.check_redis(None).ok
    silent = checks.check_redis("redis://127.0.0.1:1/0")
    assert not silent.ok
    assert "CONSILIUM_REDIS_URL" in silent.mend
    assert not checks.check_redis("not a url").ok


def test_a_missing_encoder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ENCODER_PACKAGE", "no_such_package_here")
    assert not checks.check_encoder().ok
