"""Keys that the administrator gives out: what each may use, kept hashed, followed by every process."""

from gateway.keys.book import KeyBook
from gateway.keys.record import KeyBody, KeyRecord, as_choice

__all__ = ["KeyBody", "KeyBook", "KeyRecord", "as_choice"]
