"""The clients people use, against `consilium serve` in a process of its own with the real encoder."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.processes import consilium, free_port, started, wait_for

pytestmark = pytest.mark.slow

CONFIG = """
experts:
  - name: math
    domains: [math]
    replicas: [{{base_url: "http://127.0.0.1:{math}/v1"}}]
  - name: law
    domains: [law]
    replicas: [{{base_url: "http://127.0.0.1:{law}/v1"}}]
  - name: base
    replicas: [{{base_url: "http://127.0.0.1:{base}/v1"}}]
routing: {{default: base, budget_ms: 10000}}
fusion: {{strategy: vote}}
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("serve")
    ports = {name: free_port() for name in ("math", "law", "base", "gateway")}
    config = folder / "consilium.yaml"
    config.write_text(CONFIG.format(**ports))
    math, law, base = (
        started("tests.fakes.expert", str(ports[name]), name, log=folder / f"{name}.log")
        for name in ("math", "law", "base")
    )
    serve = ("gateway", "serve", "--config", str(config), "--port", str(ports["gateway"]))
    with math, law, base, started(*serve, log=folder / "gateway.log") as gateway:
        served = f"http://127.0.0.1:{ports['gateway']}"
        wait_for(f"{served}/health/readiness", gateway, folder / "gateway.log")
        yield served


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)


def test_the_openai_sdk_gets_a_routed_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "What is the derivative of x^3 + 2x?"}]
    )

    assert "math" == answer.model
    assert "you said: What is the derivative of x^3 + 2x?" == answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0


def test_the_openai_sdk_streams(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": "Can my landlord terminate the lease contract without notice?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)

    assert {"law"} == {chunk.model for chunk in chunks}
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("you said: Can my landlord")
    assert chunks[-1].usage is not None


def test_the_openai_sdk_passes_routing_options_and_reads_the_explanation(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="council",
        messages=[{"role": "user", "content": "What is 12 times 12?"}],
        extra_body={"routing": {"fusion": "vote", "max_experts": 2, "explain": True}},
    )
    extra = answer.model_extra or {}

    assert "vote" == extra["fusion"]["strategy"]
    assert 2 == len(extra["fusion"]["candidates"])
    assert extra["routing"]["domains"]["math"] > 0.5


def test_the_openai_sdk_sees_its_own_error_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="There is no model 'gpt-9'"):
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model="auto", messages=[])


def test_the_openai_sdk_offers_tools_to_experts_without_them(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="math",
        messages=[{"role": "user", "content": "2 + 2"}],
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    )

    assert "you said: 2 + 2" == answer.choices[0].message.content


def test_the_openai_sdk_lists_models(client: openai.OpenAI) -> None:
    assert ["auto", "council", "math", "law", "base"] == [model.id for model in client.models.list()]


def test_a_follow_up_stays_with_its_topic(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="auto",
        messages=[
            {"role": "user", "content": "What is the sum of the first n odd numbers?"},
            {"role": "assistant", "content": "It is n squared."},
            {"role": "user", "content": "and for n = 5?"},
        ],
    )

    assert "math" == answer.model


def test_curl_gets_an_answer(url: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "Solve 2x + 3 = 11 for x."}]})
    command = ["curl", "-s", f"{url}/v1/chat/completions", "-H", "content-type: application/json", "-d", body]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert "math" == answer["model"]


def test_consilium_chat_shows_who_answered(url: str) -> None:
    done = consilium("chat", "--url", url, "What is 15 percent of 80?")

    assert (0, ["math", "you", "said:"]) == (done.code, done.out.split()[:3])


def test_consilium_route_explains_in_words_and_in_json(url: str) -> None:
    words = consilium("route", "--url", url, "Is a verbal contract binding?")
    machine = consilium("route", "--url", url, "--json", "Is a verbal contract binding?")

    assert words.out.startswith("law")
    assert "law" == json.loads(machine.out)["experts"][0]["expert"]


def test_docs_and_openapi_are_served(url: str) -> None:
    page = subprocess.run(["curl", "-s", f"{url}/openapi.json"], capture_output=True, text=True, check=True).stdout

    assert {"/v1/chat/completions", "/v1/route", "/v1/models", "/metrics"} <= set(json.loads(page)["paths"])


def test_asking_where_nobody_listens_is_one_sentence() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    for command in (("chat", "--url", nowhere, "hi"), ("route", "--url", nowhere, "hi")):
        done = consilium(*command)

        assert 1 == done.code
        assert f"No gateway answers at {nowhere}" in done.err
        assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("experts: [", 2, "is not valid YAML"),
        ("experts: [{name: a, replica: []}]", 2, "experts.0.replica: unknown key"),
        ("experts: [{name: a, backend: vllm, launch: {model: ./gone}}]", 2, "gone"),
        ('experts: [{name: a, replicas: [{base_url: "http://x/v1"}]}]\nrouting: {default: b}', 2, "names 'b'"),
        ('experts: [{name: a, replicas: [{base_url: "http://x/v1"}]}]\nrouting: {policy: b}', 2, "policy"),
        ('experts: [{name: a, replicas: [{base_url: "http://x/v1"}]}]\nfusion: {strategy: b}', 2, "strategy"),
        (
            'experts: [{name: a, replicas: [{base_url: "http://x/v1"}]}]\nrouting: {encoder: {model: ./none}}',
            2,
            "none",
        ),
    ],
)
def test_a_start_that_cannot_work_is_one_clear_sentence(tmp_path: Path, text: str, code: int, words: str) -> None:
    config = tmp_path / "consilium.yaml"
    config.write_text(text)
    done = consilium("serve", "--config", str(config), "--port", str(free_port()))

    assert (code, True) == (done.code, words in done.err), done.err
    assert "Traceback" not in done.err


def test_a_taken_port_is_one_clear_sentence(url: str, tmp_path: Path) -> None:
    port = url.rpartition(":")[2]
    done = consilium("serve", "--config", "builtin:pocket", "--port", port)

    assert 1 == done.code
    assert f"Cannot listen on 127.0.0.1:{port}" in done.err
    assert "Traceback" not in done.err


def test_without_a_vllm_environment_the_mend_is_named(tmp_path: Path) -> None:
    serve = ("serve", "--config", "builtin:pocket", "--port", str(free_port()))
    done = consilium(*serve, CONSILIUM_STATE_DIR=str(tmp_path), CONSILIUM_VLLM_PYTHON="")

    assert 2 == done.code
    assert "consilium doctor --fix" in done.err
    assert "Traceback" not in done.err


def test_a_public_address_without_keys_is_refused() -> None:
    done = consilium("serve", "--config", "builtin:pocket", "--host", "0.0.0.0", "--port", str(free_port()))

    assert 2 == done.code
    assert "CONSILIUM_API_KEYS" in done.err


def test_config_commands_check_show_and_describe() -> None:
    good = consilium("config", "validate", "--config", "builtin:pocket")
    shown = consilium("config", "show", "--config", "builtin:pocket")
    schema = consilium("config", "schema")

    assert (0, True) == (good.code, "8 experts" in good.out)
    assert "builtin:pocket/base" in shown.out
    assert "experts" in json.loads(schema.out)["properties"]
