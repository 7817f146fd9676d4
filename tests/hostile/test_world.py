"""The watch over the attacked gateway sees what it is there to see; a watch that is blind would let everything pass."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.hostile.shape import wrong
from tests.hostile.world import ALICE, UPSTREAM_KEY, attacked


def misdeeds(folder: Path) -> None:
    """Do what a gateway must not: write elsewhere, call a stranger, start a program, log a key and a traceback."""
    (folder / "loot").write_text("x")
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", 9), timeout=1).close()
    subprocess.run([sys.executable, "-c", ""], check=True)
    try:
        raise RuntimeError
    except RuntimeError:
        logging.getLogger("gateway").exception("with the key %s", ALICE)


def test_files_calls_programs_keys_and_tracebacks_of_the_gateways_threads_are_seen(tmp_path: Path) -> None:
    with attacked() as target, ThreadPoolExecutor(1, thread_name_prefix="attacked") as pool:
        pool.submit(misdeeds, tmp_path).result()

        assert [f"wrote {tmp_path / 'loot'}"] == target.watch.strange_files(target.folder)
        assert ("127.0.0.1", 9) in target.strange_calls()
        assert target.watch.ran
        assert 1 == len(target.bugs())
        assert 1 == len(target.leaks())


def test_what_another_thread_does_is_not_the_gateways(tmp_path: Path) -> None:
    with attacked() as target:
        (tmp_path / "mine").write_text("x")

        assert [] == target.watch.strange_files(target.folder)


def test_answers_that_must_not_be_are_told_from_others() -> None:
    error = b'{"error":{"message":"m","type":"t","param":null,"code":"c"}}'

    assert "" == wrong(400, {}, error)
    assert "" == wrong(503, {}, error, upstream=True)
    assert wrong(503, {}, error)
    assert wrong(500, {}, error, upstream=True)
    assert wrong(400, {}, b'{"detail":"no"}')
    assert wrong(400, {}, b"no")
    assert wrong(200, {}, UPSTREAM_KEY.encode())
    assert wrong(200, {"x": ALICE}, b"")
