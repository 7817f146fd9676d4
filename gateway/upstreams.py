"""Which addresses may be registered over HTTP as an expert's.

The gateway sends conversations and keys there, from inside the network: an address that hands out a cloud machine's
credentials is refused always, whatever the configuration allows. A name is resolved when it is registered; should it
mean such an address later, no connection is made (`experts.addresses`).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from fnmatch import fnmatchcase

from pydantic import Field

from experts.addresses import METADATA_NAMES, forbidden
from experts.config import ReplicaConfig, Strict
from gateway.errors import InvalidRequest

RESOLVE_SECONDS = 3.0
Resolve = Callable[[str], Awaitable[Sequence[str]]]


class RegistryConfig(Strict):
    """The `registry:` section: what may be registered while the gateway runs.

    `allowed_upstreams` are patterns of hosts (`*.internal`, `10.0.*`, `vllm-*`), with `:PORT` where that counts; none
    means any. `watch_file` makes the file's experts follow the file; SIGHUP does so at once either way.
    """

    allowed_upstreams: list[str] = Field(default=[])
    watch_file: bool = True


async def resolved(host: str) -> Sequence[str]:
    """Return the addresses of a host; none when it has no name that is known here."""
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return ()
    return [str(address[0]) for *_, address in found]


class Upstreams:
    """Says whether an address may be registered.

    Args:
        allowed: patterns; empty allows every host that is not refused always.
        resolve: finds a host's addresses.
    """

    def __init__(self, allowed: Sequence[str] = (), resolve: Resolve = resolved) -> None:
        self._allowed, self._resolve = tuple(pattern.lower() for pattern in allowed), resolve

    async def check(self, replica: ReplicaConfig, where: str) -> None:
        """Refuse an address that may not be registered; `where` is its field.

        Raises:
            InvalidRequest: it may not, and why.
        """
        url = replica.base_url
        host = (url.host or "").strip("[]").rstrip(".").lower()
        if url.username or url.password:
            raise InvalidRequest(f"{where}: write the key as api_key, not into the URL.", param=where)
        if host in METADATA_NAMES or forbidden(host):
            raise InvalidRequest(f"{where}: {host} is link-local or a cloud's metadata service.", param=where)
        if self._allowed and not self._allows(host, url.port):
            listed = ", ".join(self._allowed)
            raise InvalidRequest(f"{where}: {host} is not in registry.allowed_upstreams ({listed}).", param=where)
        if met := [address for address in await self._resolve(host) if forbidden(address)]:
            raise InvalidRequest(
                f"{where}: {host} means {met[0]}, link-local or a cloud's metadata service.", param=where
            )

    def _allows(self, host: str, port: int | None) -> bool:
        written = (host, f"{host}:{port}")
        return any(fnmatchcase(each, pattern) for each in written for pattern in self._allowed)
