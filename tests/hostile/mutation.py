"""Requests that went wrong: a number makes one, always the same.

python -m tests.hostile.mutation NUMBER
"""

from __future__ import annotations

import json
import random
import sys

from tests.hostile.world import LARGEST_BODY, MALLORY

CHAT = b"/v1/chat/completions"
PATHS = (
    b"/v1/route",
    b"/v1/models",
    b"/v1/feedback",
    b"/v1/files",
    b"/v1/batches",
    b"/v1/completions",
    b"/v1/embeddings",
    b"/v1/responses",
    b"/v1/messages",
    b"/admin/experts",
    b"/admin/keys",
    b"/admin/usage?by=",
    b"/health",
    b"/metrics",
    b"/openapi.json",
    b"/",
)
METHODS = (b"POST",) * 20 + (b"GET", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS", b"TRACE", b"M-SEARCH")
ODD: tuple[bytes, ...] = (
    b"",
    b"\x00",
    b"\r",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\xff",
    b"\xc3\x28",
    b"%",
    b"%00",
    b"%ff",
    b"..%2f",
    b"{",
    b"]",
)
ODD += (
    b'"',
    b"\\",
    b"\\ud800",
    b"1e999",
    b"-1",
    b"9" * 400,
    b"null",
    b"\xe2\x80\xae",
    b"${HOME}",
    b"{{7*7}}",
    b"A" * 9000,
)
HEADERS = (
    b"x-request-id",
    b"x-consilium-policy",
    b"x-consilium-experts",
    b"x-consilium-deadline-ms",
    b"x-consilium-session",
    b"content-type",
    b"accept",
    b"accept-encoding",
    b"content-encoding",
    b"expect",
    b"upgrade",
    b"connection",
    b"transfer-encoding",
    b"content-length",
    b"range",
    b"if-match",
    b"host",
    b"origin",
    b"cookie",
    b"x-api-key",
    b"x-forwarded-for",
    b"authorization",
)
VALUES: tuple[bytes, ...] = (
    b"close",
    b"keep-alive",
    b"chunked",
    b"gzip",
    b"websocket",
    b"h2c",
    b"100-continue",
    b"bytes=0-",
    b"*",
    b"0",
)
VALUES += (
    b"application/json",
    b"multipart/form-data; boundary=x",
    b"text/event-stream",
    b"auto",
    b"math,prose",
    b"nan",
)
SCALARS: tuple[object, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**63,
    1e308,
    "",
    "x",
    "\x00",
    "é\u202e",
    [],
    {},
    [[]],
    {"": {}},
    "math",
    "council",
)


def request(number: int) -> bytes:
    """Return the bytes of one request, or of something like it."""
    dice = random.Random(number)
    if dice.random() < 0.05:
        return dice.randbytes(dice.randint(0, 2000))
    body = _body(dice)
    whole = _head(dice, body) + body
    return _broken(dice, whole) if dice.random() < 0.4 else whole


def _head(dice: random.Random, body: bytes) -> bytes:
    path = dice.choice(PATHS) if dice.random() < 0.5 else CHAT
    path += dice.choice(ODD) if dice.random() < 0.1 else b""
    lines = [dice.choice(METHODS) + b" " + path + b" " + dice.choice((b"HTTP/1.1",) * 30 + (b"HTTP/1.0", b"HTTP/9.9"))]
    lines += [b"host: gateway", b"connection: close"]
    if dice.random() < 0.9:
        lines.append(b"authorization: Bearer " + MALLORY.encode())
    if dice.random() < 0.9:
        lines.append(b"content-length: %d" % (len(body) + dice.choice((0,) * 20 + (1, -1, 1000))))
    for _ in range(dice.choice((0,) * 10 + (1, 2, 5, 200))):
        lines.append(dice.choice(HEADERS) + dice.choice((b": ",) * 9 + (b":", b" : ")) + dice.choice(VALUES * 3 + ODD))
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _body(dice: random.Random) -> bytes:
    kind = dice.random()
    if kind < 0.1:
        return dice.randbytes(dice.randint(0, 500))
    if kind < 0.15:
        return b" " * (LARGEST_BODY + dice.randint(-1, 2))
    if kind < 0.2:
        depth = dice.choice((10, 130, 300, 1100, 20_000))
        return b'{"messages":' + b"[" * depth + b"]" * depth + b"}"
    return json.dumps(_mutated(dice, _chat(dice), 0)).encode()


def _chat(dice: random.Random) -> dict[str, object]:
    asked: dict[str, object] = {
        "model": dice.choice(("math", "prose", "auto", "council", "nobody")),
        "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": [{"type": "text", "text": "x"}]},
        ],
        "stream": dice.random() < 0.3,
    }
    for name in dice.sample(FIELDS, dice.randint(0, 3)):
        asked[name] = dice.choice(SCALARS)
    if dice.random() < 0.5:
        asked["routing"] = {name: dice.choice(SCALARS) for name in dice.sample(OPTIONS, dice.randint(0, 3))}
    return asked


FIELDS: tuple[str, ...] = (
    "stream_options",
    "tools",
    "tool_choice",
    "response_format",
    "max_tokens",
    "n",
    "stop",
    "user",
    "logprobs",
    "input",
)
FIELDS += (
    "max_completion_tokens",
    "modalities",
    "metadata",
    "prompt",
    "name",
    "request_id",
    "score",
    "replicas",
    "system",
)
OPTIONS: tuple[str, ...] = (
    "policy",
    "experts",
    "max_experts",
    "top_p",
    "cost_quality",
    "max_cost_usd",
    "max_latency_ms",
    "fusion",
)
OPTIONS += ("thinking", "priority", "deadline_ms", "explain")


def _mutated(dice: random.Random, value: object, depth: int) -> object:
    """Return JSON with some of its values replaced, dropped or doubled."""
    if dice.random() < 0.06:
        return dice.choice(SCALARS)
    if isinstance(value, dict):
        return {key: _mutated(dice, each, depth + 1) for key, each in value.items() if dice.random() > 0.03}
    if isinstance(value, list):
        return [_mutated(dice, each, depth + 1) for each in value for _ in range(dice.choice((1,) * 9 + (0, 3)))]
    return value


def _broken(dice: random.Random, whole: bytes) -> bytes:
    """Return the bytes with pieces changed, inserted, cut off or repeated."""
    data = bytearray(whole)
    for _ in range(dice.choice((1, 1, 2, 5, 20))):
        place = dice.randint(0, min(len(data), 600))
        how = dice.random()
        if how < 0.4:
            data[place:place] = dice.choice(ODD)
        elif how < 0.7 and place < len(data):
            data[place] = dice.randrange(256)
        elif how < 0.85:
            del data[place : place + dice.randint(1, 40)]
        elif how < 0.95:
            del data[place:]
        else:
            data += bytes(data[:600])
    return bytes(data)


if __name__ == "__main__":
    sys.stdout.buffer.write(request(int(sys.argv[1])))
