"""What a client did wrong, and how every error of the house looks on the wire.

    RequestError
      InvalidRequest 400 · AuthenticationFailed 401 · PermissionDenied 403 · UnknownModel 404 · UnknownRequest 404
      UnknownJob 404 · UnknownExpert 404 · ExpertInTheWay 409 · VersionMismatch 412 · TooSlow 408 · TooLarge 413
      ClientGone 499 · UnknownFile 404 · UnknownBatch 404 · FileInUse 409 · AlreadyRunning 409 · UnknownKey 404
      HeadTooLarge 431 · RateLimited 429 · BudgetSpent 429 · LimitsUnavailable 503

STATUS maps an exception class to (HTTP status, OpenAI `type`, `code`); lookup walks the class's ancestry, so
a new leaf is answered like its parent until it gets a row of its own. Bodies say which side failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, NamedTuple

from aggregator.errors import FusionError, QuorumNotReached, UnknownStrategy
from experts.errors import (
    CallRefused,
    ConfigError,
    EndpointMissing,
    ExpertDraining,
    ExpertError,
    ExpertOverloaded,
    ExpertProtocolError,
    ExpertRejected,
    ExpertTimeout,
    ExpertUnavailable,
    LaunchError,
    ServiceError,
)
from experts.profiling import QuestionError
from experts.store import StoreError, VersionConflict
from router.errors import ClassifierUnavailable, NoEligibleExpert, RoutingError, UnknownPolicy


class RequestError(ServiceError):
    """The request cannot be served as it is written; `param` names the field at fault."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class InvalidRequest(RequestError):
    """The body is not what this endpoint reads."""


class AuthenticationFailed(RequestError):
    """No key, or not one of ours."""


class PermissionDenied(RequestError):
    """A key of ours, but not one that may do this."""


class UnknownRequest(RequestError):
    """`request_id` is not one that this client sent lately."""


class UnknownJob(RequestError):
    """There is no job of that id, or it is too long ago."""


class UnknownExpert(RequestError):
    """There is no expert of that name."""


class ExpertInTheWay(RequestError):
    """The change cannot be made while the experts are as they are."""


class ExpertExists(ExpertInTheWay):
    """There is an expert of that name already."""


class ExpertInUse(ExpertInTheWay):
    """Another expert, or a section of the file, needs it as it is."""


class ExpertInFile(ExpertInTheWay):
    """Only the configuration file speaks of it, so only there can it be taken out."""


class ExpertNotOurs(ExpertInTheWay):
    """Its server is somebody else's to load and unload."""


class VersionMismatch(RequestError):
    """`If-Match` names another version than the record has."""


class UnknownFile(RequestError):
    """There is no such file of this client's."""


class FileInUse(RequestError):
    """A batch that has not ended still reads the file."""


class UnknownBatch(RequestError):
    """There is no such batch of this client's."""


class AlreadyRunning(RequestError):
    """The same work is under way."""


class UnknownKey(RequestError):
    """There is no key of that id."""


class Limited(RequestError):
    """The key has used what it may for now. `retry_after` in seconds, None where waiting does not help."""

    def __init__(self, message: str, *, retry_after: float | None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.retry_after, self.headers = retry_after, dict(headers or {})


class RateLimited(Limited):
    """The key's requests or tokens of this minute are used up."""


class BudgetSpent(Limited):
    """The key's budget is spent."""


class LimitsUnavailable(RequestError):
    """Nobody can say what the key has used, and the configuration refuses then."""


class UnknownModel(RequestError):
    """`model` is neither a virtual model nor an expert."""


class TooLarge(RequestError):
    """The body is over the limit; it was not read whole."""


class HeadTooLarge(RequestError):
    """The request's headers are over the limit; what came of them was thrown away."""


class TooSlow(RequestError):
    """The request did not arrive in time; what of it came was thrown away."""


class ClientGone(RequestError):
    """The client closed the connection; whatever was being written for it has been aborted."""


class Wire(NamedTuple):
    """How one kind of error is answered."""

    status: int
    type: str
    code: str


STATUS: dict[type[ServiceError], Wire] = {
    ServiceError: Wire(500, "server_error", "internal_error"),
    ConfigError: Wire(500, "server_error", "configuration_error"),
    StoreError: Wire(503, "server_error", "store_unavailable"),
    VersionConflict: Wire(409, "invalid_request_error", "version_conflict"),
    LaunchError: Wire(503, "server_error", "expert_not_running"),
    ExpertError: Wire(502, "upstream_error", "expert_error"),
    ExpertUnavailable: Wire(503, "upstream_error", "expert_unavailable"),
    ExpertDraining: Wire(503, "upstream_error", "expert_draining"),
    ExpertTimeout: Wire(504, "upstream_error", "expert_timeout"),
    ExpertOverloaded: Wire(429, "upstream_error", "expert_overloaded"),
    ExpertProtocolError: Wire(502, "upstream_error", "expert_protocol_error"),
    ExpertRejected: Wire(400, "invalid_request_error", "expert_rejected"),
    CallRefused: Wire(400, "invalid_request_error", "call_refused"),
    EndpointMissing: Wire(404, "invalid_request_error", "endpoint_not_supported"),
    RoutingError: Wire(500, "server_error", "routing_error"),
    NoEligibleExpert: Wire(404, "invalid_request_error", "no_eligible_expert"),
    ClassifierUnavailable: Wire(503, "server_error", "classifier_unavailable"),
    UnknownPolicy: Wire(400, "invalid_request_error", "unknown_policy"),
    FusionError: Wire(502, "upstream_error", "fusion_error"),
    QuorumNotReached: Wire(502, "upstream_error", "quorum_not_reached"),
    UnknownStrategy: Wire(400, "invalid_request_error", "unknown_fusion"),
    RequestError: Wire(400, "invalid_request_error", "invalid_request"),
    InvalidRequest: Wire(400, "invalid_request_error", "invalid_request"),
    AuthenticationFailed: Wire(401, "authentication_error", "invalid_api_key"),
    PermissionDenied: Wire(403, "permission_error", "permission_denied"),
    UnknownRequest: Wire(404, "invalid_request_error", "request_not_found"),
    UnknownExpert: Wire(404, "invalid_request_error", "expert_not_found"),
    ExpertInTheWay: Wire(409, "invalid_request_error", "expert_in_the_way"),
    ExpertExists: Wire(409, "invalid_request_error", "expert_exists"),
    ExpertInUse: Wire(409, "invalid_request_error", "expert_in_use"),
    ExpertInFile: Wire(409, "invalid_request_error", "expert_in_file"),
    ExpertNotOurs: Wire(409, "invalid_request_error", "expert_not_ours"),
    VersionMismatch: Wire(412, "invalid_request_error", "version_mismatch"),
    UnknownJob: Wire(404, "invalid_request_error", "job_not_found"),
    UnknownFile: Wire(404, "invalid_request_error", "file_not_found"),
    FileInUse: Wire(409, "invalid_request_error", "file_in_use"),
    UnknownBatch: Wire(404, "invalid_request_error", "batch_not_found"),
    UnknownKey: Wire(404, "invalid_request_error", "key_not_found"),
    Limited: Wire(429, "rate_limit_error", "rate_limit_exceeded"),
    RateLimited: Wire(429, "rate_limit_error", "rate_limit_exceeded"),
    BudgetSpent: Wire(429, "insufficient_quota", "insufficient_quota"),
    LimitsUnavailable: Wire(503, "server_error", "limits_unavailable"),
    AlreadyRunning: Wire(409, "invalid_request_error", "already_running"),
    QuestionError: Wire(400, "invalid_request_error", "invalid_questions"),
    UnknownModel: Wire(404, "invalid_request_error", "model_not_found"),
    HeadTooLarge: Wire(431, "invalid_request_error", "headers_too_large"),
    TooSlow: Wire(408, "invalid_request_error", "request_timeout"),
    ClientGone: Wire(499, "invalid_request_error", "client_gone"),
    TooLarge: Wire(413, "invalid_request_error", "request_too_large"),
}
LONGEST_MESSAGE = 2000
"""Characters; a server's complaint, or a name that a client made up, may be as long as it likes."""
RETRY_LATER = frozenset({429, 503})


def wire(error: ServiceError) -> Wire:
    """Return how this error is answered; an expert's refusal keeps the status the expert gave."""
    row = next(STATUS[base] for base in type(error).__mro__ if base in STATUS)
    return row._replace(status=error.status) if isinstance(error, ExpertRejected) else row


def error_body(error: ServiceError) -> dict[str, Any]:
    """Return OpenAI's error object, with the expert's name where one is at fault."""
    row = wire(error)
    body: dict[str, Any] = {
        "message": str(error)[:LONGEST_MESSAGE],
        "type": row.type,
        "param": getattr(error, "param", None),
        "code": row.code,
    }
    if isinstance(error, ExpertError):
        body["expert"] = error.expert
    if isinstance(error, ExpertRejected):
        said = {key: error.body.get(key) for key in ("param", "code")}
        body.update({key: word for key, word in said.items() if word and isinstance(word, str | int)})
    return {"error": body}


def error_headers(error: ServiceError) -> dict[str, str]:
    """Return Retry-After where coming back later makes sense, in whole seconds, and what the error itself brings."""
    own: dict[str, str] = getattr(error, "headers", {})
    if wire(error).status not in RETRY_LATER:
        return own
    seconds: float | None = getattr(error, "retry_after", 2.0)
    if seconds is None:  # OpenAI's clients obey the header, and would try again otherwise
        return {**own, "x-should-retry": "false"}
    return {**own, "retry-after": str(max(1, ceil(seconds)))}
