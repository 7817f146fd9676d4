"""Train the routing on questions of your own: ask every expert all of them, mark the answers, fit, measure.

pip install openai
python train_routing.py questions.csv trained/

questions.csv has a question, the right answer and a category in each row; `questions.csv` beside this file is a made
sample, far too small to decide anything by: docs/evaluation.md says how many you want. In trained/ are then the tables
`questions.csv`, `outcomes.csv` and `models.csv`, the fitted `policies/` (name the folder in `routing.artifact`) and a
`report/`. An answer counts as right when the expected one is a word in it; mark yours as they deserve.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("CONSILIUM_URL", "http://127.0.0.1:8400") + "/v1",
    api_key=os.environ.get("CONSILIUM_API_KEY", "unused"),
)


def main(source: Path, out: Path) -> None:
    """Write the three tables, then let `consilium router` fit and measure on them."""
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    experts = [model.id for model in client.models.list() if model.id not in ("auto", "council")]
    out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(8) as asking:
        outcomes = list(asking.map(outcome, [(n, row, expert) for n, row in enumerate(rows) for expert in experts]))
    write(out / "questions.csv", [question(n, row) for n, row in enumerate(rows)])
    write(out / "outcomes.csv", outcomes)
    write(out / "models.csv", [{"model_id": expert} for expert in experts])
    for expert in experts:
        right = sum(each["correct"] for each in outcomes if each["model_id"] == expert)
        print(f"{expert}: {right} of {len(rows)} right")
    tables = [word for name in ("questions", "outcomes", "models") for word in (f"--{name}", str(out / f"{name}.csv"))]
    policies = str(out / "policies")
    consilium("train", *tables, "--out", policies, "--policy", "auto,knn,profile")
    consilium("evaluate", *tables, "--artifacts", policies, "--split", "dev", "--report", str(out / "report"))


def outcome(asked: tuple[int, dict[str, str], str]) -> dict:
    """Ask one expert one question; return whether its answer was right."""
    number, row, expert = asked
    answer = client.chat.completions.create(
        model=expert, messages=[{"role": "user", "content": row["question"]}], temperature=0
    )
    text = answer.choices[0].message.content or ""
    right = re.search(rf"(?<!\w){re.escape(row['answer'])}(?!\w)", text, flags=re.IGNORECASE) is not None
    return {"question_id": number, "model_id": expert, "correct": int(right), "out_chars": len(text)}


def question(number: int, row: dict[str, str]) -> dict:
    """Return a row of the table of questions; every fourth one is kept for measuring."""
    split = "dev" if number % 4 == 3 else "train"
    return {"question_id": number, "question": row["question"], "category": row["category"], "split": split}


def write(path: Path, rows: list[dict]) -> None:
    """Write a table."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def consilium(*words: str) -> None:
    """Run `consilium router ...`, and end when it fails."""
    subprocess.run([sys.executable, "-m", "gateway", "router", *words], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
