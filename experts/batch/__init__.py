"""Batch work as data: which lines are asked of whom in which order, and a journal of what is done."""

from experts.batch.journal import Journal, JournalBusy, JournalError
from experts.batch.plan import Ask, Group, plan

__all__ = ["Ask", "Group", "Journal", "JournalBusy", "JournalError", "plan"]
