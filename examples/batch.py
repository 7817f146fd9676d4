"""Answer every line of a text file with OpenAI's Batch API: one question a line in, one JSON line each out.

pip install openai
python batch.py questions.txt answers.jsonl
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("CONSILIUM_URL", "http://127.0.0.1:8400") + "/v1",
    api_key=os.environ.get("CONSILIUM_API_KEY", "unused"),
)


def main(questions: Path, answers: Path) -> None:
    """Upload, wait, download; lines are routed first and asked expert by expert."""
    lines = [line for line in questions.read_text().splitlines() if line.strip()]
    requests = "\n".join(json.dumps(request(number, line)) for number, line in enumerate(lines, 1))
    upload = client.files.create(file=("requests.jsonl", io.BytesIO(requests.encode())), purpose="batch")
    batch = client.batches.create(input_file_id=upload.id, endpoint="/v1/chat/completions", completion_window="24h")
    while batch.status in ("validating", "in_progress", "finalizing"):
        time.sleep(0.5)
        batch = client.batches.retrieve(batch.id)
    if batch.output_file_id is None:
        raise SystemExit(f"{batch.status}: {batch.errors}")
    with answers.open("w") as out:
        for line in client.files.content(batch.output_file_id).text.splitlines():
            answered = json.loads(line)
            body = answered["response"]["body"]
            text = body["choices"][0]["message"]["content"] if "choices" in body else None
            out.write(json.dumps({"line": answered["custom_id"], "expert": body.get("model"), "answer": text}) + "\n")
    print(f"{batch.status}: {batch.request_counts.completed} of {batch.request_counts.total} answered, in {answers}")


def request(number: int, text: str) -> dict:
    """Return one line of OpenAI's batch input."""
    body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    return {"custom_id": f"line-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
