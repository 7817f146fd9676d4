"""What a fusion may do for one request: whom it may ask, until when, for how much."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from aggregator import FusionConfig
from experts.config import ExpertConfig
from experts.dispatcher import Dispatcher
from experts.errors import CallRefused, ExpertUnavailable
from experts.health import HealthBoard
from experts.profile import Price, SkillProfile
from experts.registry import Expert, Registry, Replica
from experts.types import AnswerChunk, ExpertCall, Usage
from gateway.latitude import Latitude, ListPrices
from gateway.schemas import ChatRequest, RoutingOptions

SAID = ({"role": "user", "content": "What is 3 + 4?"},)


class Recording:
    """A backend that notes every call; experts called "dead" fail."""

    def __init__(self) -> None:
        self.calls: list[ExpertCall] = []
        self.asked: list[str] = []

    async def stream(self, expert: Expert, replica: Replica, call: ExpertCall) -> AsyncGenerator[AnswerChunk, None]:
        self.calls.append(call)
        self.asked.append(expert.name)
        if expert.name == "dead":
            raise ExpertUnavailable(expert.name, "dead is down")
        part = {"index": 0, "delta": {"content": "7"}, "finish_reason": "stop"}
        yield AnswerChunk(raw={"choices": [part]}, text="7", finish_reason="stop")

    def relay(self, expert: Expert, replica: Replica, call: ExpertCall) -> AsyncGenerator[AnswerChunk, None]:
        return self.stream(expert, replica, call)

    async def probe(self, expert: Expert, replica: Replica) -> None:
        return None


def expert(name: str, **profile: Any) -> Expert:
    config = ExpertConfig.model_validate({"name": name, "replicas": [{"base_url": f"http://{name}/v1"}]})
    return Expert(config, SkillProfile(name, **profile), (Replica(f"http://{name}/v1"),))


def latitude(backend: Recording, options: dict[str, Any], *experts: Expert, **config: Any) -> Latitude:
    registry = Registry(experts)
    dispatcher = Dispatcher(registry, {"openai": backend}, HealthBoard(), max_attempts=2)
    request = ChatRequest("council", SAID, False, RoutingOptions.model_validate(options), {})
    return Latitude(request, FusionConfig(**config), registry, dispatcher, "base")


@pytest.mark.parametrize(
    "experts",
    [{"deny": ["writer"]}, {"allow": ["math", "base"]}, {"require_tags": ["tenant:a"]}],
)
async def test_an_expert_outside_of_what_the_request_allows_is_never_sent_anything(experts: dict[str, Any]) -> None:
    backend = Recording()
    ours = {"tags": frozenset({"tenant:a"})}
    free = latitude(
        backend,
        {"experts": experts},
        expert("math", **ours),
        expert("base", **ours),
        expert("writer", tags=frozenset()),
    )

    assert ("base", None) == (free.writer("writer", "base"), free.writer("writer"))
    with pytest.raises(CallRefused, match="'writer' is not one that the request allows"):
        await free.ask(ExpertCall("writer", SAID)).read()
    assert [] == backend.asked
    assert "7" == (await free.ask(ExpertCall("math", SAID)).read()).text


@pytest.mark.parametrize(("experts", "answered"), [({}, True), ({"deny": ["base"]}, False)])
async def test_the_default_expert_stands_in_only_where_it_is_allowed(experts: dict[str, Any], answered: bool) -> None:
    backend = Recording()
    stream = latitude(backend, {"experts": experts}, expert("dead"), expert("base")).ask(ExpertCall("dead", SAID))
    if answered:
        assert "base" == (await stream.read()).expert
    else:
        with pytest.raises(ExpertUnavailable):
            await stream.read()

    assert answered == ("base" in backend.asked)


def test_who_writes_can_read_what_was_said() -> None:
    small, blind = expert("small", context_window=2), expert("sighted", modalities=frozenset({"text", "image"}))
    free = latitude(Recording(), {}, small, blind)

    assert "sighted" == free.writer("small", "sighted")


async def test_calls_asked_for_share_one_cap_and_the_requests_deadline() -> None:
    backend = Recording()
    free = latitude(backend, {"deadline_ms": 1000, "priority": 3}, expert("base"), max_calls=2)
    for _ in range(2):
        await free.ask(ExpertCall("base", SAID)).read()
    with pytest.raises(CallRefused):
        await free.ask(ExpertCall("base", SAID)).read()

    assert [3, 3] == [call.priority for call in backend.calls]
    assert all(call.deadline_seconds is not None and 0.5 < call.deadline_seconds <= 1 for call in backend.calls)
    assert 0.7 == free.limits().deadline_seconds


async def test_tools_go_only_to_experts_that_declare_them() -> None:
    backend = Recording()
    free = latitude(backend, {}, expert("plain"), expert("able", capabilities=frozenset({"tools"})))
    for name in ("plain", "able"):
        await free.ask(ExpertCall(name, SAID, {"tools": [{}], "seed": 1})).read()

    assert [{"seed"}, {"seed", "tools"}] == [{*call.parameters} for call in backend.calls]


def test_a_call_is_expected_to_cost_its_prompt_and_all_it_may_write() -> None:
    priced = expert("priced", price=Price(1.0, 2.0), output_tokens=50.0)
    prices = ListPrices(Registry([priced, expert("own")]))
    messages = ({"role": "user", "content": "x" * 400},)

    assert pytest.approx(200e-6) == prices.expected(ExpertCall("priced", messages))
    assert pytest.approx(120e-6) == prices.expected(ExpertCall("priced", messages, {"max_tokens": 10}))
    assert pytest.approx(160e-6) == prices.expected(ExpertCall("priced", messages, {"max_tokens": 10, "n": 3}))
    assert pytest.approx(7e-6) == prices.paid("priced", Usage(3, 2))
    assert 0.0 == prices.expected(ExpertCall("own", messages)) == prices.paid("gone", Usage(3, 2))
