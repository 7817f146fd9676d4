"""Everything that can go wrong, as one family. This file holds the root and the expert branch.

    ServiceError
      ConfigError                    bad YAML, a missing file, an artifact that does not fit: at start-up only
      ExpertError(expert)            one expert could not answer
        ExpertUnavailable   retry    nothing listens, the connection broke, the server answered 5xx
          ExpertDraining    retry    it was taken out of service and nobody stands in; carries `retry_after`
        ExpertTimeout       retry    no first token, or no further token, in time
          DeadlinePassed             the request's own time is up: no fault of the server's
        ExpertOverloaded    retry    429 or a full queue; carries `retry_after`
        ExpertProtocolError retry    the server spoke something that is not a chat completion
        ExpertRejected               400, 404, 413, 422: the request is at fault; carries the server's words
        CallRefused                  never sent: the request may not ask this expert, or has asked enough
        EndpointMissing     retry    its server does not speak the endpoint that was asked for
      LaunchError(expert)            a server of ours could not be started: what failed and how to mend it

`retryable` and `fault` are class attributes: the dispatcher asks, and never branches on class. `fault` says that the
server is to blame; what only means that it is busy, or that the request cannot be served, counts against nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from experts.types import Endpoint


class ServiceError(Exception):
    """Root of every error this service raises on purpose. The message is a sentence for a stranger."""


class ConfigError(ServiceError):
    """The configuration cannot be used; the message names file, line where known, and the mend."""


class ExpertError(ServiceError):
    """One expert could not answer."""

    retryable: ClassVar[bool] = False
    fault: ClassVar[bool] = False

    def __init__(self, expert: str, message: str) -> None:
        super().__init__(message)
        self.expert = expert


class ExpertUnavailable(ExpertError):
    """Nothing listens, the connection broke before an answer, or the server answered 5xx."""

    retryable = True
    fault = True


class ExpertDraining(ExpertUnavailable):
    """The operator has taken it out of service, and nobody stands in; `retry_after` is in seconds."""

    def __init__(self, expert: str, message: str, *, retry_after: float = 10.0) -> None:
        super().__init__(expert, message)
        self.retry_after = retry_after


class ExpertTimeout(ExpertError):
    """The first token, or the next one, did not come in time."""

    retryable = True
    fault = True


class DeadlinePassed(ExpertTimeout):
    """The time that the request had is over, whatever the expert's own limits; nobody else could be faster."""

    retryable = False
    fault = False


class ExpertOverloaded(ExpertError):
    """The expert's server or queue is full; `retry_after` is in seconds."""

    retryable = True

    def __init__(self, expert: str, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(expert, message)
        self.retry_after = retry_after


class ExpertProtocolError(ExpertError):
    """The server answered with something that is not an OpenAI chat completion."""

    retryable = True
    fault = True


class ExpertRejected(ExpertError):
    """The server refused the request itself; trying again elsewhere would not help.

    `status` is its HTTP status and `body` its error object, passed on to the client once.
    """

    def __init__(self, expert: str, message: str, *, status: int = 400, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(expert, message)
        self.status = status
        self.body = dict(body or {})


class CallRefused(ExpertError):
    """Nothing was sent: what one request may ask of experts is used up, or this expert is outside of what it allows."""


class EndpointMissing(ExpertError):
    """Its server does not speak `endpoint`; another expert's may."""

    retryable = True

    def __init__(self, expert: str, endpoint: Endpoint) -> None:
        super().__init__(
            expert,
            f"The server of expert '{expert}' does not speak /v1/{endpoint}. Ask another expert, or leave '{endpoint}' "
            f"out of the expert's endpoints.",
        )
        self.endpoint = endpoint


class LaunchError(ServiceError):
    """A server that the gateway runs itself could not be started or kept running."""

    def __init__(self, server: str, message: str) -> None:
        super().__init__(message)
        self.server = server
