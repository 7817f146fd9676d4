"""A stand-in for vLLM's API server: the same arguments, routes and log lines, and knobs for going wrong.

Run by a fake `python` (see `fake_environment`), so that everything between the command line and /health is real.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from experts.launch import VllmEnvironment


def fake_environment(folder: Path, kind: Literal["gpu", "cpu"] = "gpu") -> VllmEnvironment:
    """Write a `python` that runs this file whatever module it is asked for."""
    python = folder / "python"
    root = Path(__file__).parents[4]
    python.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} {__file__} "$@"\n')
    python.chmod(0o755)
    return VllmEnvironment(python, kind, "0.0")


class Adapters:
    """LoRA as vLLM 0.32 does it on a CPU: unloading forgets a name and keeps the slot filled; a filled last slot
    speaks for the base.
    """

    def __init__(self, base: str, slots: int, most_rank: int) -> None:
        self.base, self.most_rank = base, most_rank
        self.named: dict[str, tuple[int, str]] = {}
        self.slots: list[tuple[int, str] | None] = [None] * slots
        self.counted = 0

    def load(self, name: str, path: str) -> tuple[int, str]:
        """Return a status and a message, vLLM's own."""
        described = Path(path) / "adapter_config.json"
        if name in self.named:
            return 400, f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place"
        if not described.exists():
            return 404, f"Loading lora {name} failed: No adapter found for {path}"
        says = json.loads(described.read_text())
        if says["r"] > self.most_rank:
            return 500, f"Call to add_lora method failed: LoRA rank {says['r']} is greater than max_lora_rank"
        if "refused_with" in says:
            return 500, says["refused_with"]
        self.take(name, path)
        return 200, "Success"

    def take(self, name: str, path: str) -> None:
        """Load without a look."""
        self.counted += 1
        self.named[name] = (self.counted, path)
        self._hold(self.counted, path)

    def unload(self, name: str) -> tuple[int, str]:
        """Forget a name."""
        if self.named.pop(name, None) is None:
            return 404, f"The lora adapter '{name}' cannot be found."
        return 200, "Success"

    def ids(self) -> set[int]:
        """Return what the slots hold."""
        return {slot[0] for slot in self.slots if slot}

    def remove(self, number: int) -> None:
        """Empty a slot."""
        self.slots = [None if slot and slot[0] == number else slot for slot in self.slots]

    def answer(self, model: str) -> str | None:
        """Return what a model says; None: no such model."""
        if model == self.base:
            last = self.slots[-1] if self.slots else None
            return f"base spoilt by {last[1]}" if last else "base"
        if model not in self.named:
            return None
        self._hold(*self.named[model])
        return f"{self.base} with {Path(self.named[model][1]).name}"

    def _hold(self, number: int, path: str) -> None:
        if number in self.ids():
            return
        free = self.slots.index(None) if None in self.slots else 0
        self.slots[free] = (number, path)


class Handler(BaseHTTPRequestHandler):
    """Answers as vLLM does; silent once `hang_after` health checks were answered."""

    options: argparse.Namespace
    adapters: Adapters
    asleep = False
    health_checks = 0

    def do_GET(self) -> None:
        if self.path == "/is_sleeping":
            return self._answer({"is_sleeping": Handler.asleep})
        if self.path == "/health":
            Handler.health_checks += 1
            if Handler.health_checks > self.options.hang_after:
                time.sleep(60)
        listed = [{"id": self.options.served_model_name, "root": self.options.model}]
        listed += [{"id": name, "root": path} for name, (_, path) in self.adapters.named.items()]
        return self._answer({"data": listed})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        route = self.path.partition("?")[0]
        if route in ("/sleep", "/wake_up"):
            Handler.asleep = route == "/sleep"
            return self._answer({})
        if route == "/collective_rpc":
            return self._answer({"results": [self._worker(body["method"], *body["args"])]})
        if Handler.asleep:
            return self._said(500, "CUDA error: an illegal memory access was encountered")
        if route == "/v1/load_lora_adapter":
            return self._said(*self.adapters.load(body["lora_name"], body["lora_path"]))
        if route == "/v1/unload_lora_adapter":
            return self._said(*self.adapters.unload(body["lora_name"]))
        answer = self.adapters.answer(body["model"])
        if answer is None:
            return self._said(404, f"The model `{body['model']}` does not exist.")
        return self._answer({"choices": [{"text": answer}]})

    def _worker(self, method: str, *args: int) -> str:
        if method == "remove_lora":
            self.adapters.remove(*args)
            return "True"
        return str(self.adapters.ids())

    def _said(self, status: int, message: str) -> None:
        self._answer(message if status == 200 else {"error": {"message": message, "code": status}}, status)

    def _answer(self, body: object, status: int = 200) -> None:
        written = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet: the log is for what vLLM would write."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--model")
    parser.add_argument("--served-model-name")
    parser.add_argument("--max-loras", type=int, default=0)
    parser.add_argument("--max-lora-rank", type=int, default=16)
    parser.add_argument("--lora-modules", nargs="*", default=[])
    parser.add_argument("--hang-after", type=int, default=10**9)
    parser.add_argument("--fail-with")
    parser.add_argument("--mended-by", type=Path, default=Path("never"))
    Handler.options, _ = parser.parse_known_args()
    if Handler.options.fail_with and not Handler.options.mended_by.exists():
        sys.exit(f"(EngineCore pid=1) ERROR 11-22 02:42:07 [core.py:1] {Handler.options.fail_with}")
    chosen = Handler.options
    Handler.adapters = Adapters(chosen.served_model_name, chosen.max_loras, chosen.max_lora_rank)
    for module in map(json.loads, chosen.lora_modules):
        Handler.adapters.take(module["name"], module["path"])
    print("(Worker pid=1) INFO 11-22 02:42:38 [cpu_model_runner.py:68] Starting to load model", flush=True)
    ThreadingHTTPServer(("127.0.0.1", Handler.options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
