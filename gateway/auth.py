"""Who is asking? A key from Authorization: Bearer or x-api-key, compared in constant time and never kept.

Keys of the environment are unlimited. Those given out at /admin/keys bring their record, which says what they may
use. A key is looked up by its SHA-256: how long that takes says nothing about the key itself.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.errors import AuthenticationFailed, PermissionDenied
from gateway.keys.book import KeyBook
from gateway.keys.record import KeyRecord, hash_of
from gateway.settings import is_loopback


@dataclass(frozen=True, slots=True)
class Client:
    """A caller we let in.

    `key_id` is for logs: the record's id, or the first letters of the key's hash. `record` is None where nothing is
    limited.
    """

    key_id: str
    record: KeyRecord | None = None


ANYONE = Client(key_id="open")
NOBODYS_HASH = "0" * 64
HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d*)?")


class Keyring:
    """The keys clients may use, hashed. Without any it lets everybody in, where it may.

    Args:
        keys: those of the environment, in the clear.
        book: those given out while the gateway runs; None where there are none.
        open_without_keys: whether everybody comes in as long as there is no key at all, revoked ones counted.
    """

    def __init__(self, keys: Iterable[str], book: KeyBook | None = None, *, open_without_keys: bool = True) -> None:
        self._hashes = tuple(hash_of(key) for key in keys)
        self._book, self._may_be_open = book, open_without_keys

    @property
    def empty(self) -> bool:
        """Whether there is no key at all."""
        return not self._hashes and not self._book

    def authenticate(self, headers: Mapping[str, str]) -> Client:
        """Return the caller.

        Raises:
            AuthenticationFailed: keys are set and the caller has none of them that still holds.
            PermissionDenied: there is no key, and a strange web page in a browser here asks.
        """
        if self.empty and self._may_be_open:
            check_asked_from_here(headers)
            return ANYONE
        offered = hash_of(_offered_key(headers))
        matches = [hmac.compare_digest(offered, known) for known in self._hashes]
        record = None if self._book is None else self._book.by_hash(offered)
        given_out = hmac.compare_digest(offered, NOBODYS_HASH if record is None else record.hash)
        if any(matches):
            return Client(key_id=offered[:8])
        if record is None or not given_out:
            raise AuthenticationFailed("Send one of the gateway's keys as 'Authorization: Bearer KEY' or 'x-api-key'.")
        check_holds(record, time.time())
        return Client(record.id, record)


def check_asked_from_here(headers: Mapping[str, str]) -> None:
    """Refuse web pages that reach an open gateway through the browser of whoever runs it.

    A page may send requests anywhere, and its own name may come to mean this machine (DNS rebinding). Browsers say the
    one in `Sec-Fetch-Site`; the other shows in `Host`.

    Raises:
        PermissionDenied: the request is another site's, or was sent to another name than this machine's.
    """
    host = HOST.fullmatch(headers.get("host", "localhost").lower())
    name = host[1] or host[2] if host else ""
    ours = name.rpartition(".")[2] == "localhost" or is_loopback(name)
    if not ours or headers.get("sec-fetch-site") == "cross-site":
        raise PermissionDenied(
            "Without keys this gateway answers only what is sent to localhost, by no other site's page: "
            "set CONSILIUM_API_KEYS to use it under another name."
        )


def check_holds(record: KeyRecord, now: float) -> None:
    """Refuse a key that does not hold any more.

    Raises:
        AuthenticationFailed: it is revoked, or its time has passed.
    """
    if (state := record.state(now)) != "active":
        raise AuthenticationFailed(f"This key is {state}; ask the gateway's administrator for another.")


class AdminKey:
    """The one key that may administer. Without one nobody may."""

    def __init__(self, key: str) -> None:
        self._hash = hash_of(key) if key else ""

    def check(self, headers: Mapping[str, str], keyring: Keyring) -> None:
        """Let the administrator in.

        Raises:
            AuthenticationFailed: there is no admin key, or none of ours was sent.
            PermissionDenied: the key is a client's.
        """
        offered = _offered_key(headers)
        if not self._hash:
            raise AuthenticationFailed("This gateway has no admin key: set CONSILIUM_ADMIN_KEY and start it again.")
        if hmac.compare_digest(hash_of(offered), self._hash):
            return
        if offered and keyring.authenticate(headers) is not ANYONE:
            raise PermissionDenied("This needs the admin key (CONSILIUM_ADMIN_KEY), not a client's key.")
        raise AuthenticationFailed("Send the admin key as 'Authorization: Bearer KEY' or 'x-api-key'.")


def _offered_key(headers: Mapping[str, str]) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    return headers.get("x-api-key", "")
