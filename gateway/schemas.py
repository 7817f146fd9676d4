"""What strangers send us. Only what we read is checked; every other field rides along untouched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from experts.depth import DEEPEST, nested_too_deep
from experts.types import BATCH_PRIORITY, Endpoint, Message, Relay
from gateway.errors import InvalidRequest

OURS = frozenset({"model", "messages", "stream", "routing"})
COUNTS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n")
LONGEST_SESSION = 256
TOO_DEEP = f"The body is nested more than {DEEPEST} levels deep."
Names = Annotated[list[str], Field(max_length=256)]


class ExpertChoice(BaseModel):
    """`routing.experts`: which experts may be chosen at all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: Names = []
    deny: Names = []
    require_tags: Names = []


ANY_EXPERT = ExpertChoice()


class RoutingOptions(BaseModel):
    """`routing` in the body: what a client may ask of one request's routing and fusion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: str | None = None
    experts: ExpertChoice = ExpertChoice()
    max_experts: int | None = Field(default=None, ge=1, le=16)
    top_p: float | None = Field(default=None, gt=0, le=1)
    cost_quality: float | None = Field(default=None, ge=0, le=1)
    max_cost_usd: float | None = Field(default=None, gt=0)
    max_latency_ms: float | None = Field(default=None, gt=0)
    fusion: str | None = None
    thinking: Literal["auto", "on", "off"] = "auto"
    priority: int = Field(default=0, ge=-10, le=10)
    deadline_ms: float | None = Field(default=None, gt=0, le=3_600_000)
    first_token_ms: float | None = Field(default=None, gt=0, le=3_600_000)
    idle_ms: float | None = Field(default=None, gt=0, le=3_600_000)
    explain: bool = False
    cache: Literal["on", "off", "refresh"] | None = None

    @property
    def background(self) -> bool:
        """Whether nobody waits for the answer: a line of a batch."""
        return self.priority <= BATCH_PRIORITY


NOTHING_ASKED = RoutingOptions()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat completion request: what we read of it, and `parameters`, everything else in the body.

    `session` is the name under which the client keeps a conversation on its expert; `within` are the experts that the
    client's key may use, which binds whatever the request itself says; `client` is whose key that is, and
    `share` how many turns it has where calls wait. `relay` is what goes to the expert where another endpoint than chat
    was asked; messages and parameters then say the same as chat's.
    """

    model: str
    messages: tuple[Message, ...]
    stream: bool
    options: RoutingOptions
    parameters: Mapping[str, Any]
    session: str | None = None
    within: ExpertChoice = ANY_EXPERT
    client: str = ""
    share: int = 1
    relay: Relay | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Where an expert is asked."""
        return "chat" if self.relay is None else self.relay.endpoint


def parse_chat(content: bytes, headers: Mapping[str, str], client: str = "") -> ChatRequest:
    """Read a request body; headers say the same as `routing` for clients that cannot add a field.

    Raises:
        InvalidRequest: not JSON, no messages, or a `routing` option that does not exist.
    """
    body = json_object(content, "a JSON object with model and messages")
    _check_stream_options(body)
    check_counts(body)
    return ChatRequest(
        model=typed(body, "model", str, "auto"),
        messages=_messages(body),
        stream=typed(body, "stream", bool, False),
        options=options_of(body, headers),
        parameters={key: value for key, value in body.items() if key not in OURS},
        session=headers.get("x-consilium-session", "")[:LONGEST_SESSION] or None,
        client=client,
    )


def json_object(content: bytes, wanted: str) -> dict[str, Any]:
    """Return a body that is read by hand; `wanted` says what it must be, for the complaint.

    Raises:
        InvalidRequest: it is no JSON, no object, or nested deeper than can be passed on.
    """
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error
    if not isinstance(body, dict):
        raise InvalidRequest(f"The body must be {wanted}.")
    if nested_too_deep(content, body):
        raise InvalidRequest(TOO_DEEP)
    return body


def _check_stream_options(body: Mapping[str, Any]) -> None:
    """Raises: InvalidRequest, where the one parameter that we read ourselves is no object."""
    if not isinstance(body.get("stream_options"), dict | None):
        raise InvalidRequest("'stream_options' must be an object.", param="stream_options")


def check_counts(body: Mapping[str, Any]) -> None:
    """Refuse numbers that limits count with and that are none to count with; a server might read 1e9 as an integer.

    Raises:
        InvalidRequest: one of them is no whole number.
    """
    for field in COUNTS:
        if type(body.get(field, 0)) not in (int, NoneType):
            raise InvalidRequest(f"'{field}' must be a whole number.", param=field)


def typed(body: Mapping[str, Any], field: str, kind: type, default: Any) -> Any:
    """Return a field of the body, or the default where it has none.

    Raises:
        InvalidRequest: it is of another type.
    """
    value = body.get(field)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise InvalidRequest(f"'{field}' must be a {kind.__name__}.", param=field)
    return value


def _messages(body: Mapping[str, Any]) -> tuple[Message, ...]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("'messages' must be a list with at least one message.", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InvalidRequest("Each message must be an object with a role.", param=f"messages[{index}]")
        if not isinstance(message.get("content"), str | list | None):
            raise InvalidRequest("A message's content must be text or a list of parts.", param=f"messages[{index}]")
    return tuple(messages)


def options_of(body: Mapping[str, Any], headers: Mapping[str, str]) -> RoutingOptions:
    """Return what a request asks of routing, in its body or its headers.

    Raises:
        InvalidRequest: there is no such option, or it cannot have that value.
    """
    asked = {**_from_headers(headers), **typed(body, "routing", dict, {})}
    if not asked:
        return NOTHING_ASKED
    try:
        return RoutingOptions.model_validate(asked)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in ("routing", *first["loc"]))
        known = ", ".join(RoutingOptions.model_fields)
        extra = f" Known options: {known}." if first["type"] == "extra_forbidden" else ""
        raise InvalidRequest(f"{where}: {first['msg']}.{extra}", param=where) from error


def _from_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if policy := headers.get("x-consilium-policy"):
        options["policy"] = policy
    if experts := headers.get("x-consilium-experts"):
        options["experts"] = {"allow": [name.strip() for name in experts.split(",") if name.strip()]}
    if deadline := headers.get("x-consilium-deadline-ms"):
        options["deadline_ms"] = deadline
    if cache := headers.get("x-consilium-cache"):
        options["cache"] = cache
    return options
