"""Files of LiteLLM and llama-swap as ours: what carries over works here, and nothing is lost without a word."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from experts.errors import ConfigError
from gateway.cli.config import app
from gateway.configuration import load_config
from gateway.importing import as_yaml, import_config

LITELLM = """
model_list:
  - model_name: math
    litellm_params:
      model: hosted_vllm/Qwen/Qwen2.5-Math-7B-Instruct
      api_base: http://10.0.0.5:8000/v1
      weight: 2
      timeout: 120
      input_cost_per_token: 0.0000001
      output_cost_per_token: 0.0000002
  - model_name: math
    litellm_params:
      model: hosted_vllm/Qwen/Qwen2.5-Math-7B-Instruct
      api_base: http://10.0.0.6:8000
      api_key: sk-very-secret
      rpm: 60
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY}
    model_info: {supports_function_calling: true, supports_vision: true, max_input_tokens: 128000}
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4}
  - model_name: "openai/*"
    litellm_params: {model: "openai/*"}
litellm_settings:
  default_fallbacks: [gpt-4o]
router_settings:
  fallbacks: [{"math": ["gpt-4o", "claude"]}]
  routing_strategy: least-busy
"""

LLAMA_SWAP = """
healthCheckTimeout: 300
macros: {server: "/app/llama-server --port ${PORT}"}
models:
  "qwen2.5:7b":
    cmd: |
      # a comment
      /opt/vllm/bin/vllm serve Qwen/Qwen2.5-7B-Instruct-AWQ \\
      --port ${PORT} --host 127.0.0.1 -tp 2
      --max-model-len=8192 --served-model-name qwen
    ttl: 300
    env: ["CUDA_VISIBLE_DEVICES=0,1", "VLLM_LOGGING_LEVEL=WARNING"]
    aliases: [gpt-4o-mini]
  coder:
    cmd: python3 -m vllm.entrypoints.openai.api_server --model Qwen/Qwen2.5-Coder-7B-Instruct --port ${PORT}
  llama:
    cmd: ${server} -m /models/llama.gguf
    ttl: 60
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(text: str) -> Path:
        path = tmp_path / "theirs.yaml"
        path.write_text(text)
        return path

    return written


def experts_of(path: Path) -> dict[str, dict[str, Any]]:
    return {expert["name"]: expert for expert in import_config(path)[1].configuration["experts"]}


def remarks_of(path: Path) -> dict[str, tuple[int, str]]:
    return {remark.place: (remark.line, remark.text) for remark in import_config(path)[1].remarks}


def test_litellms_deployments_of_one_name_become_replicas_of_one_expert(write: Any) -> None:
    math = experts_of(write(LITELLM))["math"]

    assert "Qwen/Qwen2.5-Math-7B-Instruct" == math["model"]
    assert [
        {"base_url": "http://10.0.0.5:8000/v1", "weight": 2},
        {"base_url": "http://10.0.0.6:8000/v1", "api_key": "${MATH_KEY}"},
    ] == math["replicas"]
    assert {"input_per_million": 0.1, "output_per_million": 0.2} == math["price"]
    assert {"timeout_seconds": 120} == math["limits"]


def test_litellms_abilities_fallbacks_and_default_carry_over(write: Any) -> None:
    _, imported = import_config(write(LITELLM))
    by_name = {expert["name"]: expert for expert in imported.configuration["experts"]}

    assert ["gpt-4o"] == by_name["math"]["fallback"]
    assert (["tools"], ["text", "image"], 128_000) == (
        by_name["gpt-4o"]["capabilities"],
        by_name["gpt-4o"]["modalities"],
        by_name["gpt-4o"]["context_window"],
    )
    assert {"default": "gpt-4o"} == imported.configuration["routing"]
    assert ("MATH_KEY", "OPENAI_API_KEY") == imported.variables


def test_what_litellm_has_and_we_have_not_is_said_with_its_line(write: Any) -> None:
    said = remarks_of(write(LITELLM))

    assert {
        "model_list.1.litellm_params.api_base": 14,
        "model_list.1.litellm_params.api_key": 15,
        "model_list.1.litellm_params.rpm": 16,
        "model_list.3.litellm_params.model": 21,
        "model_list.4.model_name": 22,
        "router_settings.fallbacks": 27,
        "router_settings.routing_strategy": 28,
    } == {place: line for place, (line, _) in said.items()}
    assert "anthropic" in said["model_list.3.litellm_params.model"][1]


def test_a_provider_without_a_key_gets_the_variable_that_litellm_reads(write: Any) -> None:
    entries = [{"model_name": m, "litellm_params": {"model": m}} for m in ("gpt-4o", "groq/llama", "together_ai/x/y")]
    experts = experts_of(write(yaml.safe_dump({"model_list": entries})))

    assert [
        ("gpt-4o", "https://api.openai.com/v1", "${OPENAI_API_KEY}"),
        ("llama", "https://api.groq.com/openai/v1", "${GROQ_API_KEY}"),
        ("x/y", "https://api.together.xyz/v1", "${TOGETHERAI_API_KEY}"),
    ] == [(e["model"], e["replicas"][0]["base_url"], e["replicas"][0]["api_key"]) for e in experts.values()]


def test_a_secret_is_never_copied(write: Any) -> None:
    origin, imported = import_config(write(LITELLM))

    assert "sk-very-secret" not in as_yaml(imported, origin)
    assert "sk-very-secret" not in str(imported.remarks)


def test_llama_swaps_vllm_commands_become_servers_of_ours(write: Any) -> None:
    experts = experts_of(write(LLAMA_SWAP))

    assert {
        "model": "Qwen/Qwen2.5-7B-Instruct-AWQ",
        "gpus": 2,
        "args": ["--max-model-len", "8192"],
        "start_timeout_seconds": 600,
        "env": {"VLLM_LOGGING_LEVEL": "WARNING"},
        "sleep_after_seconds": 300,
    } == experts["qwen2.5:7b"]["launch"]
    assert "Qwen/Qwen2.5-Coder-7B-Instruct" == experts["coder"]["launch"]["model"]


def test_what_only_llama_swap_can_start_stays_behind_its_url(write: Any) -> None:
    path = write(LLAMA_SWAP)
    llama = experts_of(path)["llama"]

    assert ("llama", [{"base_url": "${LLAMA_SWAP_URL:-http://127.0.0.1:8080/v1}"}]) == (
        llama["model"],
        llama["replicas"],
    )
    assert 300 == llama["limits"]["first_token_timeout_seconds"]
    assert "/app/llama-server" in remarks_of(path)["models.llama.cmd"][1]


def test_servers_that_llama_swap_swapped_take_turns_here(write: Any) -> None:
    _, imported = import_config(write(LLAMA_SWAP))

    assert {"max_resident": 1} == imported.configuration["residency"]


@pytest.mark.parametrize("text", [LITELLM, LLAMA_SWAP])
def test_the_result_is_a_file_that_the_gateway_takes(
    text: str, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, imported = import_config(write(text))
    for name in imported.variables:
        monkeypatch.setenv(name, "sk-x")
    (tmp_path / "ours.yaml").write_text(as_yaml(imported, origin))

    names = [expert.name for expert in load_config(tmp_path / "ours.yaml").experts]

    assert [expert["name"] for expert in imported.configuration["experts"]] == names


def test_llama_swaps_macros_and_variables_are_filled_in(write: Any) -> None:
    text = """
        globalTTL: 90
        macros: {context: 4096, args: "--max-model-len ${context}"}
        models:
          a: {cmd: "vllm serve ${env.MODELS}/${MODEL_ID} --port ${PORT} ${args}", ttl: -1}
          b: {cmd: "vllm serve b --port ${PORT}", ttl: 0}
    """
    _, imported = import_config(write(text))
    a, b = (expert["launch"] for expert in imported.configuration["experts"])

    assert ("${MODELS}/a", ["--max-model-len", "4096"], 90) == (a["model"], a["args"], a["sleep_after_seconds"])
    assert ("MODELS",) == imported.variables
    assert "sleep_after_seconds" not in b


def test_llama_swaps_peers_become_experts_at_their_url(write: Any) -> None:
    text = """
        models: {}
        peers:
          box: {proxy: "http://192.168.1.23/", models: [org/a, a], apiKey: sk-secret}
          far: {proxy: https://far.example/api, models: [b], apiKey: "${env.FAR_KEY}"}
    """
    experts = experts_of(write(text))

    assert ["org-a", "a", "b"] == list(experts)
    assert [{"base_url": "http://192.168.1.23/v1", "api_key": "${BOX_KEY}"}] == experts["org-a"]["replicas"]
    assert [{"base_url": "https://far.example/api/v1", "api_key": "${FAR_KEY}"}] == experts["b"]["replicas"]


KEYS = st.text("abcdefghij_", min_size=12, max_size=16)


@given(st.sampled_from(["", "model_list", "params", "info", "router_settings"]), KEYS)
def test_no_key_of_litellm_is_lost_without_a_word(where: str, key: str) -> None:
    data = yaml.safe_load(LITELLM)
    places = {
        "": data,
        "model_list": data["model_list"][0],
        "params": data["model_list"][0]["litellm_params"],
        "info": data["model_list"][2]["model_info"],
        "router_settings": data["router_settings"],
    }
    places[where][key] = "x"

    assert key in " ".join(remark_places(data))


@given(st.booleans(), KEYS)
def test_no_key_of_llama_swap_is_lost_without_a_word(inside: bool, key: str) -> None:
    data = yaml.safe_load(LLAMA_SWAP)
    (data["models"]["coder"] if inside else data)[key] = "x"

    assert key in " ".join(remark_places(data))


def remark_places(data: dict[str, Any]) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "theirs.yaml"
        path.write_text(yaml.safe_dump(data))
        return list(remarks_of(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "not valid YAML"),
        ("- 1", "not a mapping"),
        ("a: 1", "LiteLLM (model_list:) or llama-swap (models:)"),
        ("model_list: []", "nothing in it can be an expert"),
        ("model_list: [{model_name: a, litellm_params: {model: anthropic/x}}]", "anthropic does not speak"),
        ("model_list: 7", "nothing in it can be an expert"),
    ],
)
def test_a_file_that_nothing_can_be_made_of_is_one_sentence(text: str, said: str, write: Any) -> None:
    with pytest.raises(ConfigError, match=r"theirs\.yaml") as caught:
        import_config(write(text))

    assert said in str(caught.value)


def test_names_become_names_of_ours_and_stay_apart(write: Any) -> None:
    entries = [
        {"model_name": name, "litellm_params": {"model": model, "api_base": "http://a:1/v1"}}
        for name, model in [("auto", "openai/a"), ("my model", "openai/b"), ("my/model", "openai/c")]
    ]

    assert ["auto-expert", "my-model", "my-model-2"] == list(experts_of(write(yaml.safe_dump({"model_list": entries}))))


def test_the_command_writes_a_file_once(write: Any, tmp_path: Path) -> None:
    path, ours = str(write(LITELLM)), tmp_path / "ours.yaml"

    done = CliRunner().invoke(app, ["import", path, "-o", str(ours)])
    again = CliRunner().invoke(app, ["import", path, "-o", str(ours)])

    assert 0 == done.exit_code
    assert f"{path}:16: model_list.1.litellm_params.rpm: limits are per key" in done.output
    assert "2 experts: math, gpt-4o; 7 remarks." in done.output
    assert isinstance(again.exception, ConfigError)
