"""Headers that every request to an expert's server carries along: the trace that it is part of.

Which trace that is depends on the request being answered, and calls are made in many places on its way: so it is kept
in the context of the task, like nothing else here. Whoever sets it resets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

SENT_ALONG: ContextVar[Mapping[str, str]] = ContextVar("sent_along", default=MappingProxyType({}))
