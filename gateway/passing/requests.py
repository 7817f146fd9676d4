"""Read a request to another endpoint: what it is about, in chat's words, and the bytes that go on to the expert.

Only what is read is checked; the expert's server judges the rest. The body is cut at the model's name, so that each
server may be told the name that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from experts.types import Endpoint, Message, Relay
from gateway.errors import InvalidRequest
from gateway.passing.splicing import Member, members, without
from gateway.schemas import LONGEST_SESSION, ChatRequest, check_counts, json_object, options_of, typed

AUTO, COUNCIL = "auto", "council"
OURS = ("model", "routing")
PROTOCOL_HEADERS = ("anthropic-version", "anthropic-beta")
SINGLE_ANSWERS = frozenset({None, "none", "single"})
Body = Mapping[str, Any]
Conversation = tuple[Message, ...]


def parse(endpoint: Endpoint, content: bytes, headers: Mapping[str, str]) -> ChatRequest:
    """Read a request to one of the endpoints beside chat.

    Raises:
        InvalidRequest: not JSON, nothing in it to answer, or something asked that only chat can do.
    """
    body = json_object(content, "a JSON object")
    check_counts(body)
    model, options = typed(body, "model", str, AUTO), options_of(body, headers)
    if model == COUNCIL:
        told = f"/v1/{endpoint} passes on one expert's answer; '{COUNCIL}' fuses several, at /v1/chat/completions only."
        raise InvalidRequest(told, param="model")
    if options.fusion not in SINGLE_ANSWERS:
        raise InvalidRequest(f"/v1/{endpoint} cannot fuse answers.", param="routing.fusion")
    messages, parameters = READINGS[endpoint](body)
    stream = endpoint != "embeddings" and typed(body, "stream", bool, False)
    before, after = cut(content)
    known = protocol_headers(headers) if endpoint == "messages" else {}
    return ChatRequest(
        model=model,
        messages=messages,
        stream=stream,
        options=options.model_copy(update={"fusion": "none"}),
        parameters={name: value for name, value in parameters.items() if value is not None},
        session=headers.get("x-consilium-session", "")[:LONGEST_SESSION] or None,
        relay=Relay(endpoint, before, after, known, stream),
    )


def protocol_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that belong to the protocol and go on to the expert.

    Raises:
        InvalidRequest: one of them has more in it than a header of a request may.
    """
    known = {name: headers[name] for name in PROTOCOL_HEADERS if name in headers}
    for name, value in known.items():
        if not (value.isascii() and value.isprintable()):
            raise InvalidRequest(f"The header '{name}' must be plain ASCII.", param=name)
    return known


def cut(content: bytes) -> tuple[bytes, bytes]:
    """Return the body before and after the model's name, without `routing`; a body without `model` gets a place for it.

    Raises:
        InvalidRequest: one of them stands there twice: who reads the first would not see what who reads the last does.
    """
    found: dict[str, Member] = {}
    for member in members(content):
        if member.name in found:
            raise InvalidRequest(f"'{member.name}' stands in the body twice.", param=member.name)
        if member.name in OURS:
            found[member.name] = member
    if routing := found.get("routing"):
        return cut(without(content, routing))
    if model := found.get("model"):
        return content[: model.value], content[model.end :]
    at = content.index(b"{") + 1
    comma = b"" if content[at:].lstrip().startswith(b"}") else b", "
    return content[:at] + b'"model": ', comma + content[at:]


def completion(body: Body) -> tuple[Conversation, dict[str, Any]]:
    """Read a text completion: one prompt or several."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str | list) and "prompt_embeds" not in body:
        raise InvalidRequest("'prompt' must be text, or a list of texts or tokens.", param="prompt")
    texts = _texts(prompt)
    asked = typed(body, "n", int, 1)
    shape = body.get("response_format")
    limits = {"max_tokens": body.get("max_tokens"), "n": asked * max(1, len(texts)), "response_format": shape}
    return (_user("\n".join(texts)),), limits


def embedding(body: Body) -> tuple[Conversation, dict[str, Any]]:
    """Read what is to be embedded. The least that an answer can be said to write is one token: it writes none."""
    given = body.get("input", body.get("messages"))
    if not isinstance(given, str | list) or not given:
        raise InvalidRequest("'input' must be text, or a list of texts or tokens.", param="input")
    return (_user("\n".join(_texts(given))),), {"max_tokens": 1}


def response(body: Body) -> tuple[Conversation, dict[str, Any]]:
    """Read a request for a response: instructions, and a text or a list of items."""
    given = body.get("input")
    if not isinstance(given, str | list) or not given:
        raise InvalidRequest("'input' must be text or a list of items.", param="input")
    if body.get("background"):
        raise InvalidRequest(
            "A response in the background could not be fetched here: ask for it now.", param="background"
        )
    if body.get("previous_response_id") is not None and body.get("model") in (None, AUTO):
        told = "Only the server that gave the previous response may know it: name its expert, or send the whole input."
        raise InvalidRequest(told, param="previous_response_id")
    items = [_user(given)] if isinstance(given, str) else [_item(each) for each in given if isinstance(each, dict)]
    text = body.get("text")
    shape = text.get("format") if isinstance(text, dict) else None
    limits = {"max_tokens": body.get("max_output_tokens"), "tools": body.get("tools"), "response_format": shape}
    return (*_system(body.get("instructions")), *items), limits


def anthropic_messages(body: Body) -> tuple[Conversation, dict[str, Any]]:
    """Read a conversation as Anthropic writes it: the system's words stand apart, tools' results among the user's."""
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        raise InvalidRequest("'messages' must be a list with at least one message.", param="messages")
    for index, message in enumerate(given):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str | list):
            told = "Each message must be an object whose content is text or a list of blocks."
            raise InvalidRequest(told, param=f"messages[{index}]")
    output = body.get("output_config")
    shape = output.get("format") if isinstance(output, dict) else None
    limits = {"max_tokens": body.get("max_tokens"), "tools": body.get("tools"), "response_format": shape}
    results = [_tool(block) for message in given for block in _blocks(message) if block.get("type") == "tool_result"]
    return (*_system(body.get("system")), *results, *given), limits


READINGS: Mapping[Endpoint, Callable[[Body], tuple[Conversation, dict[str, Any]]]] = {
    "completions": completion,
    "embeddings": embedding,
    "responses": response,
    "messages": anthropic_messages,
}
"""What each endpoint's body is about, and the parameters that limits and routing look at, by chat's names for them."""


def _user(content: Any) -> Message:
    return {"role": "user", "content": content}


def _system(content: object) -> list[Message]:
    return [{"role": "system", "content": content}] if isinstance(content, str | list) else []


def _tool(block: Body) -> Message:
    return {"role": "tool", "content": block.get("content")}


def _item(item: Body) -> Message:
    """Return an item of a response's input: a message, or what a tool was asked or answered."""
    content = item.get("content", item.get("output", item.get("arguments")))
    usable = content if isinstance(content, str | list) else ""
    return {"role": item.get("role") or "tool", "content": usable}


def _blocks(message: Body) -> list[Body]:
    content = message.get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _texts(given: object) -> list[str]:
    """Return the texts among prompts or inputs; tokens say nothing to us."""
    if isinstance(given, str):
        return [given]
    return [each for each in given if isinstance(each, str)] if isinstance(given, list) else []
