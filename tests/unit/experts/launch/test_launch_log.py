"""What is read from a server's log: the lines are vLLM 0.32's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experts.launch import Stage
from experts.launch.server_log import failure_in, read_tail, rotate, stage_of, without_prefix

LOADING = "(Worker pid=9) INFO 11-22 02:42:38 [cpu_model_runner.py:68] Starting to load model /models/tiny..."
SHARDS = "Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00, 293.16it/s]"
LOADED = "(Worker pid=9) INFO 11-22 02:42:38 [default_loader.py:501] Loading weights took 0.01 seconds"
CAUSE = (
    "(EngineCore pid=7305) ERROR 11-22 02:47:56 [core.py:1510] "
    "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: header too large"
)
CONSEQUENCE = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
PYDANTIC = """pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, User-specified max_model_len (100000) is greater than the derived max_model_len
    For further information visit elsewhere"""
NOISE = "(APIServer pid=7) WARNING 11-22 02:47:33 [system_utils.py:255] errors like `OSError: [Errno 24] Too many`."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Stage.STARTING),
        ("(APIServer pid=7) INFO 11-22 02:42:17 [model.py:733] Resolved architecture", Stage.STARTING),
        (LOADING, Stage.LOADING),
        (f"{LOADING}\n{SHARDS}", Stage.LOADING),
        (f"{LOADING}\n{SHARDS}\n{LOADED}", Stage.WARMING),
    ],
)
def test_the_furthest_stage_is_read_from_the_log(text: str, expected: Stage) -> None:
    assert stage_of(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{CAUSE}\nTraceback\n{CONSEQUENCE}", "safetensors._safetensors_rust.SafetensorError: Error while .* large"),
        (CONSEQUENCE, "RuntimeError: Engine core initialization failed.*"),
        (PYDANTIC, ".*ValidationError: 1 validation error for ModelConfig Value error, User-specified .*_len"),
        ("usage: ...\napi_server.py: error: unrecognized arguments: --x", "error: unrecognized arguments: --x"),
        (f"ValueError: rank 4 is greater\n{LOADED}", "ValueError: rank 4 is greater"),
        (f"{LOADING}\n{LOADED}", "Starting to load model .* / Loading weights took 0.01 seconds"),
        ("", "it wrote nothing"),
    ],
)
def test_the_cause_is_found_among_consequences(text: str, expected: str) -> None:
    assert re.fullmatch(expected, failure_in(text).strip())


def test_a_warning_that_mentions_an_error_is_not_the_cause() -> None:
    assert "SafetensorError" in failure_in(f"{CAUSE}\n{NOISE}\n{CONSEQUENCE}")


def test_prefixes_are_stripped() -> None:
    assert without_prefix(LOADED) == "Loading weights took 0.01 seconds"


def test_the_previous_run_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "tiny.log"
    for run in ("first", "second"):
        rotate(log)
        log.write_text(run)
    assert (log.read_text(), log.with_name("tiny.log.1").read_text()) == ("second", "first")


def test_a_long_log_is_read_from_its_end_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_text("x" * 500_000 + "end")
    assert read_tail(log).endswith("end")
    assert len(read_tail(log)) <= 200_000
    assert read_tail(tmp_path / "none.log") == ""
