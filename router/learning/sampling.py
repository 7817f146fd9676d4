"""Which arm a conversation belongs to: by its hash alone, so that it stays there, in every process."""

from __future__ import annotations

from hashlib import blake2b


def in_share(conversation: str, share: float, salt: str) -> bool:
    """Say whether a conversation is in a share (0..1) of all; another `salt` draws independently of it."""
    digest = blake2b(f"{salt}\n{conversation}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64
