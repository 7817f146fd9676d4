"""`consilium demo` as a newcomer runs it, with a shorter exam: real vLLM, real answers, nothing left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid

import psutil
import pytest

from experts.pocket import DOMAINS
from tests.processes import ROOT

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]


def left_behind(mark: str) -> list[str]:
    """Return the commands of processes that still carry our mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("DEMO_TEST_MARK") == mark:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_the_demo_shows_routed_and_fused_answers_and_that_routing_pays() -> None:
    mark = uuid.uuid4().hex
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "demo", "--examined", "8"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "DEMO_TEST_MARK": mark},
        capture_output=True,
        text=True,
        timeout=500,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    rows = re.findall(r"│ (?:right|wrong) +│", done.stdout)
    assert len(rows) >= 12
    assert sum("right" in row for row in rows) >= 8, done.stdout
    assert {"vote", "synthesize"} <= set(done.stdout.split())
    assert all(domain in done.stdout for domain in DOMAINS)
    gain = re.search(r"against the best single model, \w+ [\d.]+: ([+-][\d.]+)\.", done.stdout)
    assert gain is not None
    assert float(gain[1]) >= 0.2, done.stdout
    assert [] == left_behind(mark)
