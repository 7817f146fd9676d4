"""Where documents are kept. `tests/contracts/test_stores.py` holds every kind in the table to the same promises."""

from experts.store.base import ABSENT, Body, Change, Document, Store, StoreError, VersionConflict
from experts.store.sqlite import SqliteStore

__all__ = ["ABSENT", "Body", "Change", "Document", "SqliteStore", "Store", "StoreError", "VersionConflict"]
