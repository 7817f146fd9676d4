"""How few questions do profiles need? The pocket experts ranked by 5, 10 and 20 questions a domain, many draws each.

    python -m tests.bench.profiling [--shipped | --per-domain 60] [--json FILE]

Starts `consilium serve --config builtin:pocket`, puts the built-in questions to the base and every specialist once, and
draws from the answers: what routing would believe after so few questions, against all of them. With `--shipped` it
draws from how many of 250 questions each got right when the shipped figures were made, and starts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from experts.backends import make_client
from experts.pocket import DOMAINS, generate, weights_folder
from experts.profile import Skill, SkillProfile
from experts.profiling import Outcome, findings, measured_body
from experts.profiling.reading import POCKET_SEED
from gateway.cli import exam
from gateway.cli.demo import until_ready
from router.policies.skill import SkillTable
from router.taxonomy import default_taxonomy
from tests.processes import free_port, started, wait_for

EXPERTS = ("base", *DOMAINS)
FEW = (5, 10, 20)
DRAWS = 200
Marks: TypeAlias = Mapping[str, Mapping[str, list[bool]]]
"""[expert][domain] -> which questions were right."""


async def marked(url: str, per_domain: int) -> Marks:
    """Put the questions to every expert by name."""
    paper = [question for domain in DOMAINS for question in generate(domain, "heldout", per_domain, POCKET_SEED)]
    found = {}
    async with make_client() as client:
        await until_ready(client, url)
        for expert in EXPERTS:
            marks = await exam.examine(client, url, expert, paper)
            found[expert] = {d: [mark.right for mark in marks if mark.question.domain == d] for d in DOMAINS}
            print(expert, json.dumps(exam.by_domain(marks)), flush=True)
    return found


def shipped() -> Marks:
    """Return marks as the shipped figures have them; which questions were right is not in them, and not needed."""
    figures = json.loads((weights_folder() / "figures.json").read_text())
    count = figures["questions_per_domain"]
    found = {}
    for expert in EXPERTS:
        right = {domain: round(figures["accuracy"][expert][domain] * count) for domain in DOMAINS}
        found[expert] = {domain: [place < number for place in range(count)] for domain, number in right.items()}
    return found


def asked(per_domain: int) -> Marks:
    """Return marks of questions put to the experts now, through a gateway of our own."""
    with tempfile.TemporaryDirectory() as folder:
        log, port = Path(folder) / "gateway.log", free_port()
        with started("gateway", "serve", "-c", "builtin:pocket", "--port", str(port), log=log) as process:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/health/liveness", process, log)
            return asyncio.run(marked(url, per_domain))


def believed(marks: Marks, count: int, lot: np.random.Generator) -> NDArray[np.float64]:
    """Return what routing expects of each expert in each domain after so many questions, [experts, domains]."""
    profiles = []
    for expert in EXPERTS:
        drawn = [
            Outcome(domain, float(right))
            for domain in DOMAINS
            for right in lot.choice(marks[expert][domain], count, replace=False)
        ]
        body = measured_body(findings(drawn), source="drawn", measured_at=0.0)
        skills = {domain: Skill(**each) for domain, each in body["skills"].items()}
        profiles.append(SkillProfile(expert, domains=() if expert == "base" else (expert,), measured=skills))
    table = SkillTable(profiles, default_taxonomy(), "base")
    return np.array([[table.skill(profile, domain) for domain in DOMAINS] for profile in profiles])


def ranking(marks: Marks, count: int) -> dict[str, float]:
    """Return how often the truly best expert of a domain comes first, and the accuracy given away where not."""
    truth = np.array([[fmean(marks[expert][domain]) for domain in DOMAINS] for expert in EXPERTS])
    lot = np.random.default_rng(0)
    first, regret = [], []
    for _ in range(DRAWS):
        tops = believed(marks, count, lot).argmax(axis=0)
        given = truth.max(axis=0) - truth[tops, np.arange(len(DOMAINS))]
        first.append(float((given == 0).mean()))
        regret.append(float(given.mean()))
    return {"best first": fmean(first), "regret": fmean(regret)}


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-domain", type=int, default=60)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--shipped", action="store_true", help="draw from the shipped figures, ask nobody")
    options = parser.parse_args()
    marks = shipped() if options.shipped else asked(options.per_domain)
    found: dict[str, Any] = {str(count): ranking(marks, count) for count in FEW}
    for count, row in found.items():
        print(f"{count:>3} questions a domain:", json.dumps({key: round(value, 3) for key, value in row.items()}))
    if options.json:
        options.json.write_text(json.dumps({"figures": found, "marks": marks}, indent=2) + "\n")
    return int(found["20"]["regret"] > 0.01)


if __name__ == "__main__":
    sys.exit(main())
