"""Register an expert with a running gateway, ask it, and take it out again.

CONSILIUM_ADMIN_KEY=... python register_expert.py chess http://127.0.0.1:9000/v1 --model team/chess-7b \
    --example "Which opening is the Sicilian?" --example "How does the knight move?"

Any server that speaks OpenAI's protocol will do. Two or three examples are enough to be routed to.
"""

from __future__ import annotations

import argparse
import os

import httpx

GATEWAY = os.environ.get("CONSILIUM_URL", "http://127.0.0.1:8400")
ADMIN = {"Authorization": f"Bearer {os.environ['CONSILIUM_ADMIN_KEY']}"}
CLIENT = {"Authorization": f"Bearer {os.environ.get('CONSILIUM_API_KEY', 'unused')}"}


def main() -> None:
    """Check the record, register it, ask a question of it; with --remove, take it out."""
    arguments = read_arguments()
    record = {
        "name": arguments.name,
        "replicas": [{"base_url": arguments.url}],
        "examples": arguments.example,
        **({"model": arguments.model} if arguments.model else {}),
    }
    with httpx.Client(base_url=GATEWAY, timeout=60) as gateway:
        checked = gateway.post("/admin/experts", params={"dry_run": "true"}, json=record, headers=ADMIN)
        told(checked)
        print("checked: the server answers and the record is good")
        told(gateway.post("/admin/experts", json=record, headers=ADMIN))
        print(f"registered: {arguments.name}")
        question = arguments.example[0]
        body = {"model": "auto", "messages": [{"role": "user", "content": question}]}
        answer = told(gateway.post("/v1/chat/completions", json=body, headers=CLIENT))
        print(f"{question!r} is answered by {answer['model']}: {answer['choices'][0]['message']['content']}")
        if arguments.remove:
            told(gateway.delete(f"/admin/experts/{arguments.name}", headers=ADMIN))
            print(f"removed: {arguments.name}")


def told(response: httpx.Response) -> dict:
    """Return the body, or end with the gateway's own sentence."""
    body = response.json()
    if response.is_error:
        raise SystemExit(f"{response.status_code} {body['error']['code']}: {body['error']['message']}")
    return body


def read_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("url", help="base URL of its server, with /v1")
    parser.add_argument("--model", help="the name its server knows, when it is another")
    parser.add_argument("--example", action="append", required=True, help="a question it is for; give two or three")
    parser.add_argument("--remove", action="store_true", help="take it out again at the end")
    return parser.parse_args()


if __name__ == "__main__":
    main()
