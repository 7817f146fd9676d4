"""An OpenAI-speaking server with knobs, over real sockets: it streams, stalls, refuses and hangs up like the real one.

Run by hand: python -m tests.fakes.expert 9001 math (or math,law: names it serves)
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.cli.server import Uvicorn, listening_socket
from tests.fakes.endpoints import FakeEndpoints

Reply = Callable[[dict[str, Any]], str]


def echo(body: dict[str, Any]) -> str:
    """Answer with the last message."""
    return f"you said: {body['messages'][-1]['content']}"


@dataclass
class FakeVllm:
    """Adapters and sleep as vLLM answers for them.

    Args:
        refusal: why an adapter is not taken; empty takes it.
        folders: loaded adapters by name.
        asleep: the level it sleeps at; 0 awake.
        held: numbers of the adapters whose weights are held, by name or not.
    """

    refusal: str = ""
    folders: dict[str, str] = field(default_factory=dict)
    asleep: int = 0
    held: set[int] = field(default_factory=set)

    def routes(self) -> list[Route]:
        """Return the routes beyond OpenAI's."""
        posts = {
            "/v1/load_lora_adapter": self._load,
            "/v1/unload_lora_adapter": self._unload,
            "/collective_rpc": self._worker,
            "/sleep": self._sleep,
            "/wake_up": self._wake,
        }
        return [
            Route("/is_sleeping", self._is_sleeping),
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in posts.items()),
        ]

    async def _load(self, request: Request) -> Response:
        body = await request.json()
        if self.refusal:
            return _refused(500, self.refusal)
        if body["lora_name"] in self.folders:
            return _refused(400, f"The lora adapter '{body['lora_name']}' has already been loaded. If you want to")
        self.folders[body["lora_name"]] = body["lora_path"]
        self.held.add(max(self.held, default=0) + 1)
        return Response("Success: added")

    async def _unload(self, request: Request) -> Response:
        name = (await request.json())["lora_name"]
        if self.folders.pop(name, None) is None:
            return _refused(404, f"The lora adapter '{name}' cannot be found.")
        return Response("Success: removed")

    async def _worker(self, request: Request) -> Response:
        body = await request.json()
        if body["method"] == "list_loras":
            return JSONResponse({"results": [sorted(self.held)]})
        self.held -= set(body["args"])
        return JSONResponse({"results": ["True"]})

    async def _sleep(self, request: Request) -> Response:
        self.asleep = int(request.query_params["level"])
        return JSONResponse({"status": "sleeping", "level": self.asleep})

    async def _wake(self, _request: Request) -> Response:
        self.asleep = 0
        return JSONResponse({"status": "awake", "tags": None})

    async def _is_sleeping(self, _request: Request) -> Response:
        return JSONResponse({"is_sleeping": self.asleep > 0})


def _refused(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "x", "code": status}}, status_code=status)


@dataclass
class FakeExpert:
    """Knobs and a record of what was asked.

    Args:
        models: names it serves.
        reply: text of the answer, from the request body.
        first_token_delay: seconds before the first chunk.
        word_delay: seconds between words.
        status: an HTTP status to refuse with; 200 answers.
        refusals: how many requests `status` holds for; None all.
        hang_up_after: words after which the connection breaks; None never.
        stall_after: words after which nothing comes any more; None never.
        garbage_after: words after which an event is no JSON; None never.
        retry_after: the header sent with a refusal.
        chunks: raw chunk bodies to send instead of a reply.
        vllm: what only vLLM has, when it is one started for that.
        endpoints: those beside chat.
    """

    models: Sequence[str] = ("fake",)
    reply: Reply = echo
    first_token_delay: float = 0.0
    word_delay: float = 0.0
    status: int = 200
    refusals: int | None = None
    hang_up_after: int | None = None
    stall_after: int | None = None
    garbage_after: int | None = None
    retry_after: str | None = None
    chunks: list[dict[str, Any]] | None = None
    garbage: bool = False
    vllm: FakeVllm | None = None
    endpoints: FakeEndpoints = field(default_factory=FakeEndpoints)
    requests: list[dict[str, Any]] = field(default_factory=list)
    request_headers: list[dict[str, str]] = field(default_factory=list)
    running: int = 0
    aborted: int = 0
    url: str = ""

    def app(self) -> Starlette:
        """Return the server's application."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/health", self._health),
                *(self.vllm.routes() if self.vllm else ()),
                *self.endpoints.routes(self),
            ]
        )

    async def _health(self, _request: Request) -> Response:
        return Response(status_code=503 if self.status != 200 and self.refusals != 0 else 200)

    async def _models(self, _request: Request) -> Response:
        folders = self.vllm.folders if self.vllm else {}
        names = (*self.models, *folders)
        listed = [{"id": name, "object": "model", "root": folders.get(name)} for name in names]
        return JSONResponse({"object": "list", "data": listed})

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        self.request_headers.append(dict(request.headers))
        if self._refuses():
            headers = {"retry-after": self.retry_after} if self.retry_after else {}
            error = {"message": f"refused with {self.status}", "type": "test", "param": "messages", "code": "knob"}
            return JSONResponse({"error": error}, status_code=self.status, headers=headers)
        if self.garbage:
            return StreamingResponse(iter([b"data: this is not json\n\n"]), media_type="text/event-stream")
        return StreamingResponse(self._events(body), media_type="text/event-stream")

    def _refuses(self) -> bool:
        if self.status == 200 or self.refusals == 0:
            return False
        if self.refusals is not None:
            self.refusals -= 1
        return True

    async def _events(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        self.running += 1
        finished = False
        try:
            async for number, chunk in _counted(self._chunks(body)):
                if self.garbage_after is not None and number > self.garbage_after:
                    yield b"data: {this is not json\n\n"
                yield b"data: " + json.dumps(chunk).encode() + b"\n\n"
            yield b"data: [DONE]\n\n"
            finished = True
        finally:
            self.running -= 1
            self.aborted += not finished

    async def _chunks(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        await asyncio.sleep(self.first_token_delay)
        if self.chunks is not None:
            for chunk in self.chunks:
                yield chunk
            return
        words = self.reply(body).split(" ")
        yield self._chunk(body, {"role": "assistant", "content": ""})
        for index, word in enumerate(words):
            if self.hang_up_after is not None and index >= self.hang_up_after:
                raise ConnectionResetError("knob: hang up")
            if index == self.stall_after:
                await asyncio.sleep(3600)
            yield self._chunk(body, {"content": word if index == 0 else f" {word}"})
            await asyncio.sleep(self.word_delay)
        yield self._chunk(body, {}, finish_reason="stop")
        read = sum(len(str(message.get("content")).split()) for message in body["messages"])
        usage = {"prompt_tokens": read, "completion_tokens": len(words), "total_tokens": read + len(words)}
        yield {**self._chunk(body, {}), "choices": [], "usage": usage}

    def _chunk(self, body: dict[str, Any], delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {
            "id": "chatcmpl-fake",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": body["model"],
            "choices": [choice],
        }


async def _counted(chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    number = 0
    async for chunk in chunks:
        yield number, chunk
        number += 1


@asynccontextmanager
async def serving(*experts: FakeExpert) -> AsyncIterator[None]:
    """Serve each fake on a port of its own; `url` ends with /v1."""
    servers = []
    for expert in experts:
        listener = listening_socket("127.0.0.1", 0)
        expert.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        config = uvicorn.Config(expert.app(), log_config=None, log_level="critical", lifespan="off")
        server = Uvicorn(config)
        servers.append((server, asyncio.create_task(server.serve(sockets=[listener])), listener))
    try:
        for server, task, _ in servers:
            while not server.started and not task.done():
                await asyncio.sleep(0.01)
        yield
    finally:
        for server, task, listener in servers:
            server.should_exit = server.force_exit = True
            await task
            listener.close()


if __name__ == "__main__":
    uvicorn.run(FakeExpert(models=tuple(sys.argv[2].split(","))).app(), host="127.0.0.1", port=int(sys.argv[1]))
