"""Chaos: two gateways on one Redis, six replicas of three experts, faults by a seeded schedule, clients that check all.

    python -m tests.bench.chaos [--minutes 10] [--seed 1] [--clients 24]

Exit code 1 where anything happened that must not: a request that ended later than a second after its deadline, an
answer that is not by whom or not about what it says, an end without an answer or OpenAI error (but where the gateway
itself was killed), a gauge that did not return to zero, a request that failed after everything was put right again.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from tests.bench.chaos.run import Outcome, run


def report(outcome: Outcome, seed: int) -> str:
    """Return the figures as a table."""
    seconds = sorted(outcome.tally.seconds)
    rows: list[tuple[str, float]] = [
        ("requests", len(seconds)),
        *sorted(outcome.tally.outcomes.items(), key=lambda row: -row[1]),
    ]
    rows += [("longest, s", round(seconds[-1], 2)), ("p99, s", round(seconds[int(len(seconds) * 0.99)], 2))]
    rows += [(f"afterwards: {kind}", count) for kind, count in outcome.calm.outcomes.items()]
    faults = ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.faults.items()))
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    head = f"seed {seed}, {outcome.seconds:.0f} s, {outcome.faults.total()} faults: {faults}"
    return f"{head}\n\n| what | count |\n|---|---|\n{table}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=24)
    said = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended, too
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(run(Path(folder), said.minutes * 60, said.seed, said.clients))
        print(report(outcome, said.seed))
    print(f"\nwrong: {len(outcome.wrong)}", *outcome.wrong[:20], sep="\n")
    sys.exit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
