"""The preset models fit the GPUs they are meant for, by the arithmetic of `consilium doctor`."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from experts.launch.needs import GPU_OVERHEAD_GIB, kv_gib, parameter_count
from experts.placement import Device, Need, place
from tests.deploy.compose_file import ROOT
from tests.deploy.test_compose import GPU_PROFILES, devices, option, services

KNOWN: dict[str, Any] = yaml.safe_load((ROOT / "deploy/boxes/models.yaml").read_text())
GIB = 2**30
AWQ_BITS = 4 + (16 + 4) / 128
"""A weight in four bits; for every 128 of them a scale of sixteen bits and a zero of four."""


def weight_bytes(model: str) -> float:
    known = KNOWN["models"][model]
    shape = known["shape"]
    parameters = parameter_count(shape)
    if not known.get("awq"):
        return parameters * 2
    embeddings: int = 2 * shape["vocab_size"] * shape["hidden_size"]
    return (parameters - embeddings) * AWQ_BITS / 8 + embeddings * 2


def servers(profile: str) -> dict[str, dict[str, Any]]:
    return {name: body for name, body in services(profile).items() if body["image"].startswith("vllm/")}


def need(name: str, body: dict[str, Any], gib: float) -> Need:
    """Return what a server is told to take of each of its GPUs, and what it needs there for one whole request."""
    command, model = body["command"], KNOWN["models"][body["command"][0]]
    context = int(option(command, "--max-model-len"))
    return Need(
        server=name,
        weights_gib=weight_bytes(command[0]) / GIB,
        # kv_gib counts at least 32,768 tokens: what one request needs is its part of that.
        kv_gib=kv_gib(model["shape"], str(context)) * min(1.0, context / 32_768),
        overhead_gib=GPU_OVERHEAD_GIB,
        heads=model["shape"]["num_attention_heads"],
        kv_heads=model["shape"]["num_key_value_heads"],
        gpus=len(devices(body)),
        fixed_gib=float(option(command, "--gpu-memory-utilization")) * gib,
    )


@pytest.mark.parametrize("model", KNOWN["models"])
def test_the_size_a_models_index_says_is_the_one_its_shape_gives(model: str) -> None:
    assert KNOWN["models"][model]["bytes"] == pytest.approx(weight_bytes(model), rel=0.001)


@pytest.mark.parametrize("profile", GPU_PROFILES)
def test_a_server_has_room_for_its_weights_and_a_request_of_its_whole_context(profile: str) -> None:
    gib = KNOWN["boxes"][profile]["gib"]
    for name, body in servers(profile).items():
        wanted = need(name, body, gib)
        gpus = wanted.gpus or 1
        free = Need(server=name, weights_gib=wanted.weights_gib, kv_gib=wanted.kv_gib, overhead_gib=wanted.overhead_gib)
        taken = free.each_gib(gpus)
        assert taken is not None
        assert wanted.fixed_gib is not None
        assert taken <= wanted.fixed_gib, f"{name}: {taken:.1f} GiB on each of {gpus}, given {wanted.fixed_gib:.1f}"
        assert gpus == int(option(body["command"], "--tensor-parallel-size", "1"))


@pytest.mark.parametrize("profile", GPU_PROFILES)
def test_what_shares_a_gpu_leaves_a_twentieth_of_it(profile: str) -> None:
    box = KNOWN["boxes"][profile]
    taken = dict.fromkeys(range(box["gpus"]), 0.0)
    for body in servers(profile).values():
        for device in devices(body):
            taken[int(device)] += float(option(body["command"], "--gpu-memory-utilization"))

    assert [] == [(device, share) for device, share in taken.items() if share > 0.95]


@pytest.mark.parametrize("profile", GPU_PROFILES)
def test_doctors_placement_finds_a_seat_for_every_server(profile: str) -> None:
    box = KNOWN["boxes"][profile]
    gpus = [Device(index, box["gib"], box["gib"]) for index in range(box["gpus"])]
    needs = [need(name, body, box["gib"]) for name, body in servers(profile).items()]

    assert servers(profile).keys() == place(needs, gpus).seats.keys()


@pytest.mark.parametrize("profile", GPU_PROFILES)
def test_a_context_is_no_longer_than_the_model_was_made_for(profile: str) -> None:
    commands = [body["command"] for body in servers(profile).values()]

    assert [] == [
        command[0]
        for command in commands
        if int(option(command, "--max-model-len")) > KNOWN["models"][command[0]]["shape"]["max_position_embeddings"]
    ]


def row(profile: str, name: str, body: dict[str, Any]) -> str:
    """Return the line of docs/deploy.md that says how a server's share of a GPU is used."""
    wanted = need(name, body, KNOWN["boxes"][profile]["gib"])
    gpus, given = wanted.gpus or 1, wanted.fixed_gib or 0.0
    weights = (wanted.weights_gib or 0.0) / gpus
    cache = wanted.kv_gib / min(gpus, wanted.kv_heads)
    left = given - weights - cache - wanted.overhead_gib
    called = option(body["command"], "--served-model-name") + (f" (on {gpus})" if gpus > 1 else "")
    figures = " | ".join(f"{figure:.1f}" for figure in (given, weights, cache, wanted.overhead_gib, left))
    return f"| `{profile}` {called} | {figures} |"


@pytest.mark.parametrize("profile", GPU_PROFILES)
def test_the_page_says_these_figures(profile: str) -> None:
    page = (ROOT / "docs/deploy.md").read_text()

    assert [] == [line for name, body in servers(profile).items() if (line := row(profile, name, body)) not in page]
