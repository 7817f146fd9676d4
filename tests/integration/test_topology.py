"""What compose.yaml starts, as processes: it becomes healthy by its own checks, answers, and outlives a kill."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from experts.launch import find_environment
from tests.deploy.compose_file import ROOT
from tests.deploy.test_compose import GPU_PROFILES, option, services
from tests.deploy.test_monitoring import VLLM
from tests.deploy.topology import Topology

pytestmark = [pytest.mark.redis, pytest.mark.slow]
KEY = {"Authorization": "Bearer sk-test"}
QUESTIONS = {"What is 417 plus 268?": "math", "What is the capital of Kenya?": "geography"}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    yield from running(Topology("cpu", tmp_path_factory.mktemp("box")))


def running(topology: Topology, seconds: float = 90) -> Iterator[Topology]:
    try:
        for service in ("redis", "pocket", "gateway"):
            topology.start(service)
            topology.wait_until_healthy(service, seconds)
        yield topology
    finally:
        topology.close()


def ask(box: Topology, text: str, headers: dict[str, str] = KEY) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0}
    return httpx.post(f"{box.url('gateway')}/v1/chat/completions", json=body, headers=headers, timeout=60)


def eventually(asked: Callable[[], Any], seconds: float = 30) -> Any:
    """Return the first answer that is not empty."""
    deadline = time.monotonic() + seconds
    while not (found := asked()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.2)
    return found


def test_a_client_with_the_key_gets_a_routed_answer_and_one_without_none(box: Topology) -> None:
    answers = {text: ask(box, text).json()["model"] for text in QUESTIONS}

    assert QUESTIONS == answers
    assert 401 == ask(box, "What is 2 plus 2?", {}).status_code


def test_a_key_given_out_survives_a_kill_of_the_gateway_and_of_redis(box: Topology) -> None:
    admin = {"Authorization": f"Bearer {(box.folder / 'gateway-volume/admin.key').read_text().strip()}"}
    made = httpx.post(f"{box.url('gateway')}/admin/keys", json={"name": "app"}, headers=admin, timeout=30)
    key = {"Authorization": f"Bearer {made.json()['key']}"}
    assert 200 == ask(box, "What is 1 plus 1?", key).status_code

    box.kill("gateway", "redis")
    for service in ("redis", "gateway"):
        box.start(service)
        box.wait_until_healthy(service)

    assert 200 == ask(box, "What is 1 plus 1?", key).status_code


def test_an_expert_that_dies_makes_the_gateway_unhealthy_until_it_is_back(box: Topology) -> None:
    box.kill("pocket")
    eventually(lambda: not box.healthy("gateway"), 60)

    box.start("pocket")

    box.wait_until_healthy("gateway")


@pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not on the PATH (apt-get install prometheus)"
)
def test_prometheus_scrapes_the_gateway_and_understands_every_panel(box: Topology) -> None:
    box.start("prometheus")
    eventually(lambda: query(box, 'up{job="gateway"} == 1'))
    board = json.loads((ROOT / "deploy/grafana/dashboards/consilium.json").read_text())
    panels = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]

    for expression in panels:
        query(box, expression.replace("$__rate_interval", "1m"))
    assert eventually(lambda: query(box, "sum(consilium_requests_total)"))
    assert 8 == len(query(box, "consilium_expert_ready"))
    rules = httpx.get(f"{box.url('prometheus')}/api/v1/rules", timeout=10).json()["data"]["groups"][0]["rules"]
    assert {"ok"} == set(eventually(lambda: {rule["health"] for rule in rules} - {"unknown"} or {"ok"}))


def query(box: Topology, expression: str) -> list[Any]:
    """Return what Prometheus finds; a query that it does not understand fails."""
    try:
        answer = httpx.get(f"{box.url('prometheus')}/api/v1/query", params={"query": expression}, timeout=10).json()
    except httpx.TransportError:
        return []
    assert "success" == answer["status"], answer
    found: list[Any] = answer["data"]["result"]
    return found


@pytest.mark.long
@pytest.mark.vllm
@pytest.mark.timeout(900)
def test_the_box_without_a_gpu_answers_rightly_on_real_vllm(tmp_path: Path) -> None:
    environment = find_environment()
    assert environment is not None, "no vLLM: consilium doctor --fix"
    serve = [str(environment.python), "-m", "vllm.entrypoints.openai.api_server"]
    for box in running(Topology("cpu", tmp_path, serve), 400):
        right = {"What is 417 plus 268?": "685", "What is the capital of Kenya?": "Nairobi"}
        said = {text: ask(box, text).json()["choices"][0]["message"]["content"] for text in right}
        figures = httpx.get(f"{box.url('pocket')}/metrics", timeout=10).text

        assert [] == [text for text, answer in right.items() if answer not in said[text]]
        assert [] == [name for name in VLLM if name not in figures]


PARSE = """
import json, sys
from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser, serve = FlexibleArgumentParser(), ServeSubcommand()
serve.subparser_init(parser.add_subparsers())
for command in json.load(sys.stdin):
    args = parser.parse_args(["serve", *command])
    serve.validate(args)
    print(args.model_tag, args.served_model_name[0], args.max_model_len, args.gpu_memory_utilization)
"""


@pytest.mark.long
@pytest.mark.vllm
@pytest.mark.timeout(300)
def test_vllms_own_parser_takes_every_command_of_the_boxes() -> None:
    environment = find_environment()
    assert environment is not None, "no vLLM: consilium doctor --fix"
    bodies = [body for profile in GPU_PROFILES for body in services(profile).values()]
    commands = [body["command"] for body in bodies if body["image"].startswith("vllm/")]

    told = json.dumps(commands)
    done = subprocess.run([environment.python, "-c", PARSE], input=told, capture_output=True, text=True, timeout=240)
    wanted = [
        f"{command[0]} {option(command, '--served-model-name')} {option(command, '--max-model-len')} "
        f"{float(option(command, '--gpu-memory-utilization'))}"
        for command in commands
    ]

    assert wanted == done.stdout.splitlines()[-len(wanted) :], done.stderr[-3000:]
