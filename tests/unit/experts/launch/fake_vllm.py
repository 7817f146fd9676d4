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
from typing import Any

from experts.launch import VllmEnvironment


def fake_environment(folder: Path) -> VllmEnvironment:
    """Write a `python` that runs this file whatever module it is asked for."""
    python = folder / "python"
    root = Path(__file__).parents[4]
    python.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} {__file__} "$@"\n')
    python.chmod(0o755)
    return VllmEnvironment(python, "gpu", "0.0")


class Handler(BaseHTTPRequestHandler):
    """Answers /health, /v1/models and /v1/completions; silent once `hang_after` health checks were answered."""

    options: argparse.Namespace
    health_checks = 0

    def do_GET(self) -> None:
        if self.path == "/health":
            Handler.health_checks += 1
            if Handler.health_checks > self.options.hang_after:
                time.sleep(60)
        adapters = [json.loads(module)["name"] for module in self.options.lora_modules]
        self._answer({"data": [{"id": name} for name in (self.options.served_model_name, *adapters)]})

    def do_POST(self) -> None:
        self._answer({"choices": [{"text": "x"}]})

    def _answer(self, body: dict[str, Any]) -> None:
        written = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet: the log is for what vLLM would write."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--served-model-name")
    parser.add_argument("--lora-modules", nargs="*", default=[])
    parser.add_argument("--hang-after", type=int, default=10**9)
    parser.add_argument("--fail-with")
    parser.add_argument("--mended-by", type=Path, default=Path("never"))
    Handler.options, _ = parser.parse_known_args()
    if Handler.options.fail_with and not Handler.options.mended_by.exists():
        sys.exit(f"(EngineCore pid=1) ERROR 11-22 02:42:07 [core.py:1] {Handler.options.fail_with}")
    print("(Worker pid=1) INFO 11-22 02:42:38 [cpu_model_runner.py:68] Starting to load model", flush=True)
    ThreadingHTTPServer(("127.0.0.1", Handler.options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
