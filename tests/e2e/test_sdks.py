"""What people's own clients send and read, through the gateway: OpenAI's SDK, Anthropic's and LangChain's.

The bodies are compared with those that the clients sent: on chat as JSON, on the other endpoints byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import orjson
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from tests.conftest import expert_record, gateway_over
from tests.fakes.endpoints import FakeEndpoints
from tests.fakes.expert import FakeExpert, serving

ABLE = {"capabilities": ["tools", "json_schema"], "modalities": ["text", "image"]}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {"type": "object", "properties": {"model": {"type": "string"}, "city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "\u2600", "parameters": WEATHER}}
OURS = ("model", "routing", "stream", "stream_options")
STATUSES = (400, 404, 422, 429, 500)


@dataclass
class World:
    """A gateway with one expert, and the bodies that clients sent to it."""

    url: str
    expert: FakeExpert
    sent: list[bytes]

    def openai(self) -> openai.AsyncOpenAI:
        client = openai.DefaultAsyncHttpxClient(event_hooks={"request": [self._note]})
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="unused", max_retries=0, http_client=client)

    def anthropic(self) -> anthropic.AsyncAnthropic:
        client = anthropic.DefaultAsyncHttpxClient(event_hooks={"request": [self._note]})
        return anthropic.AsyncAnthropic(base_url=self.url, api_key="unused", max_retries=0, http_client=client)

    @asynccontextmanager
    async def langchain(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what LangChain's models are made with; their connections are closed at the end."""
        async with openai.DefaultAsyncHttpxClient(event_hooks={"request": [self._note]}) as client:
            address = {"base_url": f"{self.url}/v1", "api_key": SecretStr("unused"), "max_retries": 0}
            yield {"model": "math", **address, "http_async_client": client}

    async def _note(self, request: Any) -> None:
        self.sent.append(request.content)

    def asked_alike(self) -> bool:
        """Say whether the expert's server got every chat body as it was sent, but for what is the gateway's."""
        got = [{k: v for k, v in body.items() if k not in OURS} for body in self.expert.requests]
        wanted = [{k: v for k, v in orjson.loads(body).items() if k not in OURS} for body in self.sent]
        return bool(wanted) and wanted == got

    def passed_on(self) -> bool:
        """Say whether the expert's server got every other body byte for byte, but for the model's name."""
        wanted = [body.replace(b'"model":"math"', b'"model":"hub/math"', 1) for body in self.sent]
        return bool(wanted) and wanted == self.expert.endpoints.bodies


@asynccontextmanager
async def world(expert: FakeExpert) -> AsyncIterator[World]:
    async with serving(expert), gateway_over([expert_record("math", expert, model="hub/math", **ABLE)]) as client:
        expert.models = ("hub/math",)
        yield World(str(client.base_url).rstrip("/"), expert, [])


def chunk(*choices: dict[str, Any], **more: Any) -> dict[str, Any]:
    usual = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "hub/math",
        "choices": [{**usual, **choice} for choice in choices],
        **more,
    }


def calling(arguments: str) -> list[dict[str, Any]]:
    """Return the chunks of an answer that calls a tool, its arguments in two pieces."""
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": half}} for half in (arguments[:7], arguments[7:])]
    return [
        chunk({"delta": {"role": "assistant", "content": None, "tool_calls": [first]}}),
        *(chunk({"delta": {"tool_calls": [piece]}}) for piece in pieces),
        chunk({"finish_reason": "tool_calls"}),
        chunk(usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}),
    ]


def test_the_world_can_tell_a_changed_body() -> None:
    expert = FakeExpert(requests=[{"model": "hub/math", "messages": [], "seed": 1}])
    assert World("", expert, [b'{"model": "math", "messages": [], "seed": 1}']).asked_alike()
    assert not World("", expert, [b'{"model": "math", "messages": [], "seed": 2}']).asked_alike()
    assert not World("", expert, []).passed_on()


async def test_openai_tools_go_there_and_back() -> None:
    arguments = '{"city": "M\u00fcnchen", "model": "T"}'
    question = {"role": "user", "content": "Weather?"}
    async with world(FakeExpert(chunks=calling(arguments))) as served, served.openai() as client:
        create: Callable[..., Any] = client.chat.completions.create
        first = await create(
            model="math", messages=[question], tools=[TOOL], tool_choice="auto", parallel_tool_calls=False
        )
        [call] = first.choices[0].message.tool_calls
        answer = {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "\u2600"}'}
        messages = [question, first.choices[0].message.model_dump(exclude_none=True), answer]
        served.expert.chunks = None
        second = await create(model="math", messages=messages, tools=[TOOL])
        served.expert.chunks = calling(arguments)
        stream = await create(model="math", messages=[question], tools=[TOOL], stream=True)
        deltas = [each.choices[0].delta async for each in stream if each.choices]

    assert ("call_1", "weather", arguments) == (call.id, call.function.name, call.function.arguments)
    assert ("tool_calls", "math") == (first.choices[0].finish_reason, first.model)
    assert 'you said: {"sky": "\u2600"}' == second.choices[0].message.content
    assert arguments == "".join(d.tool_calls[0].function.arguments or "" for d in deltas if d.tool_calls)
    assert served.asked_alike()


class Sum(BaseModel):
    a: int
    total: int


async def test_openai_structured_output_is_parsed() -> None:
    async with world(FakeExpert(reply=lambda _: '{"a": 1, "total": 3}')) as served, served.openai() as client:
        parse: Callable[..., Any] = client.chat.completions.parse
        answer = await parse(model="math", messages=[{"role": "user", "content": "1 + 2"}], response_format=Sum)

    assert Sum(a=1, total=3) == answer.choices[0].message.parsed
    assert "json_schema" == served.expert.requests[0]["response_format"]["type"]
    assert served.asked_alike()


async def test_openai_log_probabilities_several_choices_and_images() -> None:
    token = {
        "token": "4",
        "logprob": -0.125,
        "bytes": [52],
        "top_logprobs": [{"token": "4", "logprob": -0.125, "bytes": [52]}],
    }
    told = [
        chunk(
            *(
                {"index": i, "delta": {"content": text}, "logprobs": {"content": [token], "refusal": None}}
                for i, text in enumerate("45")
            )
        ),
        chunk({"index": 0, "finish_reason": "stop"}, {"index": 1, "finish_reason": "length"}),
    ]
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
    ]
    more = {"n": 2, "logprobs": True, "top_logprobs": 1, "temperature": 0.1, "seed": 7, "logit_bias": {"50256": -100}}
    extra = {"routing": {"priority": 1}, "top_k": 5, "chat_template_kwargs": {"deep": [None, 1.5]}}
    async with world(FakeExpert(chunks=told)) as served, served.openai() as client:
        create: Callable[..., Any] = client.chat.completions.create
        asked = {"model": "math", "messages": [{"role": "user", "content": content}], **more, "extra_body": extra}
        whole = await create(**asked)
        stream = await create(**asked, stream=True)
        streamed = [each async for each in stream]

    assert [("4", "stop"), ("5", "length")] == [(c.message.content, c.finish_reason) for c in whole.choices]
    assert [token] * 2 == [c.logprobs.content[0].model_dump() for c in whole.choices]
    assert [token] * 2 == [c.logprobs.content[0].model_dump() for c in streamed[0].choices]
    assert served.asked_alike()


@pytest.mark.parametrize("wanted", [True, False])
async def test_openai_stream_options_decide_on_usage(wanted: bool) -> None:
    async with world(FakeExpert()) as served, served.openai() as client:
        create: Callable[..., Any] = client.chat.completions.create
        options = {"stream_options": {"include_usage": True}} if wanted else {}
        stream = await create(model="math", messages=[{"role": "user", "content": "hi"}], stream=True, **options)
        chunks = [each async for each in stream]

    assert wanted == (chunks[-1].usage is not None)
    assert "you said: hi" == "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)


async def test_openai_sees_its_error_classes() -> None:
    kinds = [
        openai.BadRequestError,
        openai.NotFoundError,
        openai.UnprocessableEntityError,
        openai.RateLimitError,
        openai.InternalServerError,
    ]
    message: Any = [{"role": "user", "content": "hi"}]
    async with world(FakeExpert()) as served, served.openai() as client:
        for status, kind in zip(STATUSES, kinds, strict=True):
            served.expert.status = status
            calls: list[Callable[[], Any]] = [
                lambda: client.chat.completions.create(model="math", messages=message),
                lambda: client.completions.create(model="math", prompt="hi"),
                lambda: client.responses.create(model="math", input="hi"),
                lambda: client.embeddings.create(model="math", input="hi"),
            ]
            for call in calls:
                with pytest.raises(kind, match=f"{status}|rested|rests|unavailable|breaker"):
                    await call()
        served.expert.status = 200
        with pytest.raises(openai.NotFoundError, match="There is no model"):
            await client.responses.create(model="gpt-9", input="hi")
        with pytest.raises(openai.BadRequestError, match="council"):
            await client.completions.create(model="council", prompt="hi")


async def test_openai_completions_pass_byte_for_byte() -> None:
    more: dict[str, Any] = {"max_tokens": 9, "temperature": 1.0, "logprobs": 3, "echo": True, "stop": ["\n", "\u00e9"]}
    async with world(FakeExpert()) as served, served.openai() as client:
        whole = await client.completions.create(model="math", prompt="caf\u00e9 2+2", **more)
        options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        stream: Any = await client.completions.create(model="math", prompt="one two", **options)
        chunks = [each async for each in stream]

    assert ("math", "caf\u00e9 2+2") == (whole.model, whole.choices[0].text)
    assert "one two" == "".join(each.choices[0].text for each in chunks if each.choices)
    assert {"math"} == {each.model for each in chunks}
    assert 2 == chunks[-1].usage.completion_tokens
    assert served.passed_on()


async def test_openai_embeddings_pass_byte_for_byte() -> None:
    async with world(FakeExpert()) as served, served.openai() as client:
        answer = await client.embeddings.create(model="math", input=["a", "b"], encoding_format="float", dimensions=2)

    assert [[0.5, 0.0], [0.5, 1.0]] == [each.embedding for each in answer.data]
    assert ("math", 7) == (answer.model, answer.usage.prompt_tokens)
    assert served.passed_on()


async def test_openai_responses_pass_byte_for_byte() -> None:
    tool: Any = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": False}
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "low"}
    said: Any = [{"role": "user", "content": [{"type": "input_text", "text": "hi"}, image]}]
    async with world(FakeExpert()) as served, served.openai() as client:
        whole = await client.responses.create(model="math", input="one two", instructions="be brief", tools=[tool])
        stream = await client.responses.create(model="math", input="one two", stream=True, metadata={"model": "x"})
        events = [event async for event in stream]
        served.expert.endpoints.answer = json.dumps(
            {
                "id": "resp_2",
                "object": "response",
                "created_at": 1,
                "model": "hub/math",
                "output": [
                    {
                        "type": "function_call",
                        "id": "fc_1",
                        "call_id": "call_1",
                        "name": "weather",
                        "arguments": '{"model": "T"}',
                        "status": "completed",
                    }
                ],
                "parallel_tool_calls": True,
                "tool_choice": "auto",
                "tools": [],
            }
        ).encode()
        called: Any = await client.responses.create(model="math", input=said, tools=[tool])

    assert ("math", "one two") == (whole.model, whole.output_text)
    assert "one two" == "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert {"math"} == {event.response.model for event in events if hasattr(event, "response")}
    assert ("math", '{"model": "T"}') == (called.model, called.output[0].arguments)
    assert served.passed_on()


async def test_openai_raises_on_an_error_in_mid_stream() -> None:
    async with world(FakeExpert(hang_up_after=2)) as served, served.openai() as client:
        streams: list[Any] = [
            await client.responses.create(model="math", input="one two three", stream=True),
            await client.completions.create(model="math", prompt="one two three", stream=True),
        ]
        for stream in streams:
            with pytest.raises(openai.APIError, match="Expert 'math'"):
                _ = [event async for event in stream]


async def test_anthropic_messages_pass_byte_for_byte() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    said: Any = [{"role": "user", "content": [{"type": "text", "text": "caf\u00e9"}, image]}]
    async with world(FakeExpert(endpoints=FakeEndpoints())) as served, served.anthropic() as client:
        served.expert.endpoints.answer = json.dumps(
            {
                "id": "msg_2",
                "type": "message",
                "role": "assistant",
                "model": "hub/math",
                "content": [
                    {"type": "tool_use", "id": "t_1", "name": "weather", "input": {"model": "T", "city": "\u00fc"}}
                ],
                "stop_reason": "tool_use",
                "stop_sequence": None,
                "usage": {"input_tokens": 3, "output_tokens": 2},
            }
        ).encode()
        tool: Any = {"name": "weather", "input_schema": WEATHER}
        more: dict[str, Any] = {"max_tokens": 64, "system": "be brief", "stop_sequences": ["\n"], "tools": [tool]}
        called: Any = await client.messages.create(model="math", messages=said, **more)
        served.expert.endpoints.answer = None
        used = {"role": "assistant", "content": [block.model_dump() for block in called.content]}
        result = {"type": "tool_result", "tool_use_id": "t_1", "content": "\u2600"}
        messages: Any = [*said, used, {"role": "user", "content": [result]}]
        whole = await client.messages.create(model="math", messages=messages, **more)
        async with client.messages.stream(
            model="math", messages=[{"role": "user", "content": "one two"}], **more
        ) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()

    assert ("tool_use", {"model": "T", "city": "\u00fc"}) == (called.content[0].type, called.content[0].input)
    assert ("math", "end_turn", 7) == (whole.model, whole.stop_reason, whole.usage.input_tokens)
    assert ("one two", "math", 2) == (text, final.model, final.usage.output_tokens)
    assert served.passed_on()
    spoken = {client.default_headers["anthropic-version"]}
    assert spoken == {headers["anthropic-version"] for headers in served.expert.endpoints.headers}
    assert not any("x-api-key" in headers for headers in served.expert.endpoints.headers)


async def test_anthropic_sees_its_error_classes() -> None:
    kinds = [
        anthropic.BadRequestError,
        anthropic.NotFoundError,
        anthropic.UnprocessableEntityError,
        anthropic.RateLimitError,
        anthropic.InternalServerError,
    ]
    said: Any = {"max_tokens": 9, "messages": [{"role": "user", "content": "one two three"}]}
    async with world(FakeExpert()) as served, served.anthropic() as client:
        for status, kind in zip(STATUSES, kinds, strict=True):
            served.expert.status = status
            with pytest.raises(kind) as raised:
                await client.messages.create(model="math", **said)
            assert "error" == raised.value.body["type"]  # type: ignore[index]
        served.expert.status, served.expert.hang_up_after = 200, 1
        with pytest.raises(anthropic.NotFoundError, match="There is no model"):
            await client.messages.create(model="claude-9", **said)
        with pytest.raises(anthropic.APIError, match="Expert 'math'"):
            async with client.messages.stream(model="math", **said) as stream:
                await stream.get_final_message()


async def test_langchain_calls_tools_parses_streams_and_embeds() -> None:
    arguments = '{"city": "Bonn"}'
    async with world(FakeExpert(chunks=calling(arguments))) as served, served.langchain() as made:
        bound = ChatOpenAI(**made, extra_body={"routing": {"priority": 1}}).bind_tools([TOOL])
        question = HumanMessage("Weather?")
        called: Any = await bound.ainvoke([question])
        served.expert.chunks = None
        told: Any = await bound.ainvoke([question, called, ToolMessage("sunny", tool_call_id="call_1")])
        pieces = [piece async for piece in ChatOpenAI(**made, stream_usage=True).astream("one two")]
        served.expert.reply = lambda _: '{"a": 1, "total": 3}'
        structured = await ChatOpenAI(**made).with_structured_output(Sum).ainvoke("1 + 2")
        alike = served.asked_alike()
        served.sent.clear()
        vectors = await OpenAIEmbeddings(**made, check_embedding_ctx_length=False).aembed_documents(["a", "b"])
        response = await ChatOpenAI(**made, use_responses_api=True).ainvoke("one two")

    assert [{"name": "weather", "args": {"city": "Bonn"}, "id": "call_1", "type": "tool_call"}] == called.tool_calls
    assert "you said: sunny" == told.content
    assert "you said: one two" == "".join(str(piece.content) for piece in pieces)
    assert any(piece.usage_metadata for piece in pieces if isinstance(piece, AIMessageChunk))
    assert Sum(a=1, total=3) == structured
    assert [[0.5, 0.0], [0.5, 1.0]] == vectors
    assert ("math", "one two") == (response.response_metadata["model_name"], response.text)
    assert (True, True) == (alike, served.passed_on())


async def test_comments_while_an_expert_thinks_disturb_nobody() -> None:
    said: Any = [{"role": "user", "content": "one two"}]
    async with (
        world(FakeExpert(first_token_delay=1.2)) as served,
        served.openai() as ours,
        served.anthropic() as theirs,
    ):
        response: Any = await ours.responses.create(model="math", input="one two", stream=True)
        deltas = [event.delta async for event in response if event.type == "response.output_text.delta"]
        async with theirs.messages.stream(model="math", messages=said, max_tokens=9) as stream:
            text = await stream.get_final_text()
        raw = await ours.completions.with_raw_response.create(model="math", prompt="one two", stream=True)
        comments = [line async for line in raw.http_response.aiter_lines() if line.startswith(":")]

    assert ("one two", "one two") == ("".join(deltas), text)
    assert comments
