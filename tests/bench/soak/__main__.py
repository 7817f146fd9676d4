"""Soak: one gateway at half of what it can do, disconnects included; memory and descriptors must stay flat.

    python -m tests.bench.soak [--minutes 30] [--seed 1]

Flat: the lower end of the 95 % interval of Theil and Sen's slope (over medians of 24 blocks after the warm-up) adds up
to less than 2 % of the memory (4 MiB at least) and 8 descriptors over the run. Exit code 1 where it does not, or where
an answer was wrong, late or missing.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from tests.bench.soak.run import Outcome, run
from tests.bench.soak.trend import Trend

HOUR = 3600


def report(outcome: Outcome) -> str:
    """Return the figures as a table."""

    def row(name: str, found: Trend, unit: float) -> str:
        figures = (found.level, found.slope * HOUR, found.low * HOUR, found.high * HOUR)
        level, slope, low, high = (f"{figure / unit:.1f}" for figure in figures)
        return f"| {name} | {level} | {slope} an hour | {low} to {high} |"

    requests = outcome.tally.outcomes.total()
    kinds = ", ".join(f"{kind} {count}" for kind, count in outcome.tally.outcomes.most_common())
    rate, seconds = f"{outcome.rate:.0f} requests a second", f"{outcome.memory.seconds:.0f} s after the warm-up"
    head = f"{rate}, weighed for {seconds}; {requests} requests: {kinds}"
    table = [row("memory, MiB", outcome.memory, 2**20), row("descriptors", outcome.descriptors, 1)]
    return "\n".join([head, "", "| what | level | slope | 95 % |", "|---|---|---|---|", *table])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    said = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended, too
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(run(Path(folder), said.minutes * 60, said.seed))
    print(report(outcome))
    print(f"\nwrong: {len(outcome.wrong)}", *outcome.wrong[:20], sep="\n")
    sys.exit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
