"""What is measured: each a server on a port of this machine, in front of the same upstream, stopped when left.

direct     the upstream itself
nginx      `proxy_pass` with kept connections, one worker, Debian's package
litellm    LiteLLM's proxy, one worker, no database, no callbacks, in an environment of its own
consilium  this gateway as `consilium serve` runs it, with the real encoder and its usual log, written to a file
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experts.launch.state import state_folder
from tests.bench.overhead.upstream import MODELS
from tests.processes import free_port, started, wait_for

KEY = "sk-bench-0123456789abcdef"
"""The client's key: LiteLLM does not start without one, so both gateways ask for it."""
LITELLM = "litellm[proxy]==1.104.1"
NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_max_body_size 16m; client_body_buffer_size 1m; keepalive_requests 1000000;
  upstream expert {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    location / {{ proxy_pass http://expert; }}
  }}
}}
"""


def litellm_python() -> Path:
    """Return the Python of LiteLLM's environment, which is made on first use (minutes, from the package index)."""
    folder = state_folder() / "bench-overhead"
    python, done = folder / "bin" / "python", folder / ".done"
    if not done.is_file() or done.read_text() != LITELLM:
        print(f"making {folder} with {LITELLM}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "--quiet", "install", LITELLM], check=True)
        done.write_text(LITELLM)
    return python


@contextmanager
def upstream(folder: Path) -> Iterator[int]:
    """Run the upstream; yields its port."""
    port, log = free_port(), folder / "upstream.log"
    with started("tests.bench.overhead.upstream", str(port), log=log) as process:
        wait_for(f"http://127.0.0.1:{port}/v1/models", process, log)
        yield port


@contextmanager
def nginx(folder: Path, behind: int) -> Iterator[tuple[int, int]]:
    """Run nginx; yields its port and process id."""
    port, binary = free_port(), shutil.which("nginx") or "/usr/sbin/nginx"
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, upstream=behind, port=port))
    with _run([binary, "-p", str(folder), "-c", str(config)], folder / "nginx.out") as process:
        wait_for(f"http://127.0.0.1:{port}/v1/models", process, folder / "nginx.log")
        yield port, process.pid


@contextmanager
def litellm(folder: Path, behind: int) -> Iterator[tuple[int, int]]:
    """Run LiteLLM's proxy; yields its port and process id."""
    port, config, python = free_port(), folder / "litellm.yaml", litellm_python()
    config.write_text(json.dumps({"model_list": [_litellm_model(name, behind) for name in MODELS]}))
    command = [str(python.parent / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY}
    with _run([*command, "--num_workers", "1"], folder / "litellm.log", **quiet) as process:
        wait_for(f"http://127.0.0.1:{port}/health/liveliness", process, folder / "litellm.log")
        yield port, process.pid


def _litellm_model(name: str, behind: int) -> dict[str, object]:
    parameters = {"model": f"openai/{name}", "api_base": f"http://127.0.0.1:{behind}/v1", "api_key": "none"}
    return {"model_name": name, "litellm_params": parameters}


@contextmanager
def consilium(folder: Path, behind: int) -> Iterator[tuple[int, int]]:
    """Run the gateway; yields its port and process id."""
    port, config, log = free_port(), folder / "consilium.yaml", folder / "consilium.log"
    domains = {"plain": ["math", "physics"], "other": ["law", "history"]}
    replicas = [{"base_url": f"http://127.0.0.1:{behind}/v1"}]
    limits = {"max_in_flight": 1024, "max_queue": 1024}
    experts = [{"name": name, "domains": domains[name], "limits": limits, "replicas": replicas} for name in MODELS]
    config.write_text(json.dumps({"experts": experts, "routing": {"default": "plain"}}))
    arguments = ("gateway", "serve", "--config", str(config), "--port", str(port))
    environment = {"CONSILIUM_STORE": str(folder / "consilium.db"), "CONSILIUM_API_KEYS": KEY}
    with started(*arguments, log=log, **environment) as process:
        wait_for(f"http://127.0.0.1:{port}/health/readiness", process, log)
        yield port, process.pid


@contextmanager
def _run(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        whole = {**os.environ, **environment}
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=whole, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
