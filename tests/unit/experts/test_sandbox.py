"""The sandbox bounds time, memory, output and files, and shows the program nothing of ours."""

from __future__ import annotations

import time
from pathlib import Path

from experts.sandbox import OUTPUT_BYTES, run_python


def test_output_of_a_good_program_is_returned() -> None:
    result = run_python("print(6 * 7)")
    assert (result.stdout, result.ok, result.error) == ("42\n", True, "")


def test_an_exception_is_reported_by_its_last_line() -> None:
    result = run_python("1 / 0")
    assert not result.ok
    assert result.error == "ZeroDivisionError: division by zero"


def test_an_endless_loop_is_stopped_in_time() -> None:
    started = time.monotonic()
    assert not run_python("while True: pass", timeout_seconds=1).ok
    assert time.monotonic() - started < 5


def test_a_sleeper_is_stopped_in_time() -> None:
    result = run_python("import time\ntime.sleep(60)", timeout_seconds=0.5)
    assert (result.ok, result.error) == (False, "timed out")


def test_a_memory_hog_is_refused() -> None:
    result = run_python("x = bytearray(800 * 2**20)")
    assert (result.ok, result.error) == (False, "MemoryError")


def test_a_flood_of_output_is_cut_off() -> None:
    result = run_python("while True: print('x' * 1000)")
    assert (result.ok, result.error) == (False, "too much output")
    assert len(result.stdout) <= OUTPUT_BYTES


def test_files_cannot_be_written(tmp_path: Path) -> None:
    target = tmp_path / "note"
    assert not run_python(f"with open({str(target)!r}, 'w') as f: f.write('hello')").ok
    assert not target.exists() or target.read_text() == ""


def test_the_environment_is_empty() -> None:
    result = run_python("import os\nprint(sorted(set(os.environ) - {'LC_CTYPE'}))")
    assert result.stdout == "[]\n"


def test_site_packages_are_out_of_reach() -> None:
    assert not run_python("import pytest").ok


def test_a_program_with_quotes_and_braces_arrives_unchanged() -> None:
    assert run_python("x = {'a': \"{b}\"}\nprint(x['a'], '''q''')").stdout == "{b} q\n"
