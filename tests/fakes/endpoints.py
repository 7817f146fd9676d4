"""The endpoints beside chat, as the fake expert speaks them: text completions, embeddings, responses, messages.

Bodies are kept as bytes, to be compared bit for bit. An answer can be given as bytes too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from tests.fakes.expert import FakeExpert

Body = dict[str, Any]
EVENTS = "text/event-stream"


def said(body: Body) -> str:
    """Return what a request's text says, whatever the endpoint calls it."""
    text = body.get("prompt") or body.get("input") or body.get("messages")
    if isinstance(text, list):
        text = text[-1]
    return str(text["content"] if isinstance(text, dict) else text)


@dataclass
class FakeEndpoints:
    """Knobs and a record; status, delays and hang-ups are the fake expert's.

    Args:
        spoken: the endpoints it has; every other one is a 404 as FastAPI says it.
        answer: bytes to answer with instead of the request's own words.
        content_type: of those bytes.
        refusal: the JSON body of a refusal, with the fake expert's status.
    """

    spoken: tuple[str, ...] = ("completions", "embeddings", "responses", "messages")
    answer: bytes | None = None
    content_type: str = "application/json"
    refusal: Body | None = None
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def routes(self, knobs: FakeExpert) -> list[Route]:
        """Return a route for each endpoint that is spoken."""

        def endpoint(name: str) -> Callable[[Request], Any]:
            async def answer(request: Request) -> Response:
                return await self._answer(name, request, knobs)

            return answer

        return [Route(f"/v1/{name}", endpoint(name), methods=["POST"]) for name in self.spoken]

    async def _answer(self, name: str, request: Request, knobs: FakeExpert) -> Response:
        content = await request.body()
        self.bodies.append(content)
        self.headers.append(dict(request.headers))
        body: Body = json.loads(content)
        if knobs.status != 200:
            error = {"message": f"refused with {knobs.status}", "type": "test", "param": None, "code": "knob"}
            headers = {"retry-after": knobs.retry_after} if knobs.retry_after else {}
            return JSONResponse(self.refusal or {"error": error}, status_code=knobs.status, headers=headers)
        if self.answer is not None:
            return Response(self.answer, media_type=self.content_type)
        try:
            words = said(body).split(" ")
            frames = list(EVENTS_OF[name](body, words)) if body.get("stream") is True and name in EVENTS_OF else []
            whole = WHOLE[name](body, words)
        except (AttributeError, KeyError, TypeError) as odd:
            told = {"message": f"what is {odd!r}?", "type": "BadRequestError", "param": None, "code": 400}
            return JSONResponse({"error": told}, status_code=400)
        if frames:
            return StreamingResponse(_paced(frames, knobs), media_type=EVENTS)
        await asyncio.sleep(knobs.first_token_delay + knobs.word_delay * len(words))
        if knobs.hang_up_after is not None:
            raise ConnectionResetError("knob: hang up")
        return JSONResponse(whole)


async def _paced(frames: list[tuple[str, bytes]], knobs: FakeExpert) -> AsyncIterator[bytes]:
    knobs.running += 1
    finished, words = False, 0
    try:
        await asyncio.sleep(knobs.first_token_delay)
        for word, frame in frames:
            if word:
                if knobs.hang_up_after is not None and words >= knobs.hang_up_after:
                    raise ConnectionResetError("knob: hang up")
                words += 1
                await asyncio.sleep(knobs.word_delay)
            yield frame
        finished = True
    finally:
        knobs.running -= 1
        knobs.aborted += not finished


def _frame(body: Body, event: str = "") -> bytes:
    named = f"event: {event}\n" if event else ""
    return f"{named}data: {json.dumps(body)}\n\n".encode()


def _pieces(words: list[str]) -> Iterator[tuple[int, str]]:
    return enumerate(word if index == 0 else f" {word}" for index, word in enumerate(words))


def _completion(body: Body, text: str, reason: str | None) -> Body:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": body["model"],
        "choices": [choice],
    }


def _completion_usage(words: list[str]) -> Body:
    return {"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 7 + len(words)}


def _whole_completion(body: Body, words: list[str]) -> Body:
    return {**_completion(body, " ".join(words), "stop"), "usage": _completion_usage(words)}


def _completion_events(body: Body, words: list[str]) -> Iterator[tuple[str, bytes]]:
    for _, piece in _pieces(words):
        yield piece, _frame(_completion(body, piece, None))
    yield "", _frame(_completion(body, "", "stop"))
    if (body.get("stream_options") or {}).get("include_usage"):
        yield "", _frame({**_completion(body, "", None), "choices": [], "usage": _completion_usage(words)})
    yield "", b"data: [DONE]\n\n"


def _embeddings(body: Body, _words: list[str]) -> Body:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    data = [{"object": "embedding", "index": index, "embedding": [0.5, float(index)]} for index, _ in enumerate(texts)]
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def _response(body: Body, words: list[str], status: str) -> Body:
    content = {"type": "output_text", "text": " ".join(words), "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": [content]}
    usage = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": len(words),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 7 + len(words),
    }
    done = status == "completed"
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": body["model"],
        "output": [message] if done else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "metadata": {"model": "of a car"},
        "usage": usage if done else None,
    }


def _whole_response(body: Body, words: list[str]) -> Body:
    return _response(body, words, "completed")


def _response_events(body: Body, words: list[str]) -> Iterator[tuple[str, bytes]]:
    number = iter(range(10_000))

    def event(kind: str, **more: Any) -> bytes:
        return _frame({"type": kind, "sequence_number": next(number), **more}, kind)

    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    text = " ".join(words)
    yield "", event("response.created", response=_response(body, words, "in_progress"))
    yield "", event("response.output_item.added", output_index=0, item=item)
    yield "", event("response.content_part.added", **place, part=part)
    for _, piece in _pieces(words):
        yield piece, event("response.output_text.delta", **place, delta=piece, logprobs=[])
    yield "", event("response.output_text.done", **place, text=text, logprobs=[])
    yield "", event("response.content_part.done", **place, part={**part, "text": text})
    done = _response(body, words, "completed")
    yield "", event("response.output_item.done", output_index=0, item=done["output"][0])
    yield "", event("response.completed", response=done)


def _message(body: Body, words: list[str]) -> Body:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": " ".join(words)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": len(words)},
    }


def _message_events(body: Body, words: list[str]) -> Iterator[tuple[str, bytes]]:
    empty = {**_message(body, []), "content": [], "stop_reason": None, "usage": {"input_tokens": 7, "output_tokens": 1}}
    block = {"type": "text", "text": ""}
    yield "", _frame({"type": "message_start", "message": empty}, "message_start")
    yield "", _frame({"type": "ping"}, "ping")
    yield "", _frame({"type": "content_block_start", "index": 0, "content_block": block}, "content_block_start")
    for _, piece in _pieces(words):
        delta = {"type": "text_delta", "text": piece}
        yield piece, _frame({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta")
    yield "", _frame({"type": "content_block_stop", "index": 0}, "content_block_stop")
    ending = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": len(words)}}
    yield "", _frame({"type": "message_delta", **ending}, "message_delta")
    yield "", _frame({"type": "message_stop"}, "message_stop")


WHOLE: dict[str, Callable[[Body, list[str]], Body]] = {
    "completions": _whole_completion,
    "embeddings": _embeddings,
    "responses": _whole_response,
    "messages": _message,
}
EVENTS_OF: dict[str, Callable[[Body, list[str]], Iterator[tuple[str, bytes]]]] = {
    "completions": _completion_events,
    "responses": _response_events,
    "messages": _message_events,
}
