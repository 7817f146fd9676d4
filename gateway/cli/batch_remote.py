"""Have a running gateway run a batch over its own API: upload, order, wait, fetch. What was ordered is remembered."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson

from experts.errors import ServiceError
from gateway.batches.local import Errand
from gateway.batches.record import ENDED, WINDOW, Counts
from gateway.batches.sheet import CHAT
from gateway.cli.ask import answered, gateway, reachable

LOOK_SECONDS = 0.5
ORDERED = "ordered.json"


class BatchFailed(ServiceError):
    """The gateway could not run the batch."""


def run_remote(errand: Errand, url: str, told: Callable[[Counts], None]) -> Counts:
    """Run it there and write the output here; a batch ordered by an earlier call is gone on waiting for.

    Raises:
        Refused: the gateway answered with an error.
        BatchFailed: the batch came to nothing.
    """
    with gateway(url) as client, reachable(url):
        batch = waited_for(client, ordered(client, errand, url), told)
        if batch["output_file_id"] is None:
            problems = (batch["errors"] or {"data": []})["data"]
            raise BatchFailed(f"The batch {batch['id']} {batch['status']}: {'; '.join(p['message'] for p in problems)}")
        fetch(client, batch["output_file_id"], errand.out)
    counts = counts_of(batch)
    told(counts)
    return counts


def ordered(client: httpx.Client, errand: Errand, url: str) -> str:
    """Return the id of the batch, ordered now unless it was before."""
    note = errand.journal.with_name(ORDERED)
    wanted = {"url": url, "input": errand.fingerprint}
    known: dict[str, Any] = orjson.loads(note.read_bytes()) if note.exists() else {}
    if {**known, "batch": None} == {**wanted, "batch": None}:
        return str(known["batch"])
    with errand.sheet.path.open("rb") as file:
        sent = client.post("/v1/files", files={"file": (errand.out.name, file)}, data={"purpose": "batch"})
    order = {"input_file_id": answered(sent)["id"], "endpoint": CHAT, "completion_window": WINDOW}
    batch = answered(client.post("/v1/batches", json=order))["id"]
    note.write_bytes(orjson.dumps({**wanted, "batch": batch}))
    return str(batch)


def waited_for(client: httpx.Client, batch_id: str, told: Callable[[Counts], None]) -> dict[str, Any]:
    """Return the batch once it has ended."""
    while True:
        batch = answered(client.get(f"/v1/batches/{batch_id}"))
        if batch["status"] in ENDED:
            return batch
        told(counts_of(batch))
        time.sleep(LOOK_SECONDS)


def counts_of(batch: dict[str, Any]) -> Counts:
    """Return how far a batch is."""
    return Counts(**batch["request_counts"])


def fetch(client: httpx.Client, file_id: str, out: Path) -> None:
    """Write a file of the gateway's to our disk; it appears whole."""
    part = out.with_name(f".{out.name}.part")
    with client.stream("GET", f"/v1/files/{file_id}/content") as response, part.open("wb") as file:
        response.raise_for_status()
        for chunk in response.iter_bytes():
            file.write(chunk)
    part.rename(out)
