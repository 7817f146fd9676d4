"""Who is asking? A key from Authorization: Bearer or x-api-key, compared in constant time and never kept."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from gateway.errors import AuthenticationFailed, PermissionDenied


@dataclass(frozen=True, slots=True)
class Client:
    """A caller we let in; `key_id` is the first letters of its key's hash, for logs."""

    key_id: str


ANYONE = Client(key_id="open")


class Keyring:
    """The keys clients may use, stored hashed. An empty ring lets everybody in."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._hashes = tuple(sha256(key.encode()).hexdigest() for key in keys)

    def authenticate(self, headers: Mapping[str, str]) -> Client:
        """Return the caller.

        Raises:
            AuthenticationFailed: keys are set and the caller has none of them.
        """
        if not self._hashes:
            return ANYONE
        offered = sha256(_offered_key(headers).encode()).hexdigest()
        matches = [hmac.compare_digest(offered, known) for known in self._hashes]
        if not any(matches):
            raise AuthenticationFailed("Send one of the gateway's keys as 'Authorization: Bearer KEY' or 'x-api-key'.")
        return Client(key_id=offered[:8])


class AdminKey:
    """The one key that may administer. Without one nobody may."""

    def __init__(self, key: str) -> None:
        self._hash = sha256(key.encode()).hexdigest() if key else ""

    def check(self, headers: Mapping[str, str], keyring: Keyring) -> None:
        """Let the administrator in.

        Raises:
            AuthenticationFailed: there is no admin key, or none of ours was sent.
            PermissionDenied: the key is a client's.
        """
        offered = _offered_key(headers)
        if not self._hash:
            raise AuthenticationFailed("This gateway has no admin key: set CONSILIUM_ADMIN_KEY and start it again.")
        if hmac.compare_digest(sha256(offered.encode()).hexdigest(), self._hash):
            return
        if offered and keyring.authenticate(headers) is not ANYONE:
            raise PermissionDenied("This needs the admin key (CONSILIUM_ADMIN_KEY), not a client's key.")
        raise AuthenticationFailed("Send the admin key as 'Authorization: Bearer KEY' or 'x-api-key'.")


def _offered_key(headers: Mapping[str, str]) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    return headers.get("x-api-key", "")
