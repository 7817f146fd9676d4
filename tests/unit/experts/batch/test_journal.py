"""What was synced is there after any crash; what a crash tore is dropped whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experts.batch import Journal, JournalBusy

RECORDS: list[dict[str, Any]] = [
    {"kind": "route", "line": 1, "text": "ü\n\u2028 and more"},
    {"kind": "done", "line": 1, "body": {"choices": [{"message": {"content": "x" * 300}}]}},
    {"kind": "done", "line": 2, "body": None},
]


def written(path: Path, records: list[dict[str, Any]]) -> list[int]:
    journal = Journal.open(path)
    offsets = [journal.append(record) for record in records]
    journal.sync()
    journal.close()
    return offsets


def found(path: Path) -> list[dict[str, Any]]:
    journal = Journal.open(path)
    try:
        return [record for _, record in journal.records()]
    finally:
        journal.close()


def test_records_come_back_in_order_and_by_their_place(tmp_path: Path) -> None:
    offsets = written(tmp_path / "j", RECORDS)
    journal = Journal.open(tmp_path / "j")

    assert RECORDS == [record for _, record in journal.records()]
    assert RECORDS == [journal.read(offset) for offset in offsets]
    assert 0o600 == (tmp_path / "j").stat().st_mode & 0o777
    journal.close()


def test_a_record_longer_than_a_read_comes_back_whole(tmp_path: Path) -> None:
    long = {"text": "y" * 200_000}
    offsets = written(tmp_path / "j", [long, {"a": 1}, long])
    journal = Journal.open(tmp_path / "j")

    assert [long, {"a": 1}, long] == [journal.read(offset) for offset in offsets]
    journal.close()


def test_of_every_prefix_of_the_file_the_whole_records_are_kept_and_it_goes_on_from_there(tmp_path: Path) -> None:
    written(tmp_path / "j", RECORDS)
    whole = (tmp_path / "j").read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        torn = tmp_path / "torn"
        torn.write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends)
        offset = written(torn, [{"next": cut}])[0]

        assert [*RECORDS[:kept], {"next": cut}] == found(torn)
        assert offset == (ends[kept - 1] if kept else 0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(), json_values, max_size=4), max_size=8),
    st.integers(0, 10_000),
    st.binary(max_size=40),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_records_survive_any_cut_and_any_garbage(
    tmp_path: Path, records: list[dict[str, Any]], cut: int, garbage: bytes
) -> None:
    path = tmp_path / "j"
    path.unlink(missing_ok=True)
    offsets = written(path, records)
    whole = path.read_bytes()
    at = cut % (len(whole) + 1)
    path.write_bytes(whole[:at] + b"\x00" + garbage)
    ends = [*offsets[1:], len(whole)] if records else []

    assert records[: sum(end <= at for end in ends)] == found(path)


def test_nobody_else_may_open_it_meanwhile(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "j")
    with pytest.raises(JournalBusy, match="Another process"):
        Journal.open(tmp_path / "j")
    journal.close()
    Journal.open(tmp_path / "j").close()


KILLED = """
import os, signal, sys
from pathlib import Path
from experts.batch import Journal
journal = Journal.open(Path(sys.argv[1]))
journal.append({"synced": True})
journal.sync()
journal.append({"synced": False})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_loses_what_was_not_synced_and_its_lock(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "j")], cwd=os.getcwd(), check=False)

    assert -signal.SIGKILL == died.returncode
    assert [{"synced": True}] == found(tmp_path / "j")
