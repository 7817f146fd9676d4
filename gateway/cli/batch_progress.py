"""Show how far a batch is: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gateway.batches.record import Counts

LINE_SECONDS = 5.0


class LineProgress:
    """Call it with counts. Use as a context manager around the time it should show."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Progress(
            TextColumn("batch"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task: TaskID | None = None
        self._told_at = 0.0

    def __call__(self, counts: Counts) -> None:
        """Show the counts."""
        done, failed = counts.completed + counts.failed, f"{counts.failed} failed" if counts.failed else ""
        if self.console.is_terminal:
            if self._task is None:
                self._task = self._bar.add_task("batch", total=counts.total, failed="")
                self._bar.start()
            self._bar.update(self._task, completed=done, failed=failed)
        elif time.monotonic() - self._told_at > LINE_SECONDS:
            self._told_at = time.monotonic()
            self.console.print(f"batch: {done} of {counts.total} lines {failed}".rstrip())

    def __enter__(self) -> LineProgress:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.stop()
