"""Show how far the servers we start have come: bars on a terminal, lines elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from experts.launch import ServerProgress, ServerState, Stage

DONE_BY_STAGE = {Stage.STARTING: 10, Stage.LOADING: 40, Stage.WARMING: 70, Stage.READY: 100}


class FleetProgress:
    """Call it with each step of a server. Use as a context manager around the time it should show."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._last: dict[str, str] = {}
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[stage]}"),
            TimeElapsedColumn(),
            console=console,
        )

    def __call__(self, step: ServerProgress) -> None:
        """Show one step."""
        stage = step.stage.value if step.state is ServerState.STARTING else step.state.describe()
        if self._console.is_terminal:
            self._move_bar(step, stage)
        elif self._last.get(step.server) != stage:
            self._console.print(f"{step.server}: {stage} ({step.elapsed_seconds:.0f} s) {step.detail}".rstrip())
        self._last[step.server] = stage

    def _move_bar(self, step: ServerProgress, stage: str) -> None:
        if step.server not in self._tasks:
            self._tasks[step.server] = self._bars.add_task(step.server, total=100, stage=stage)
        done = 100 if step.state is ServerState.READY else DONE_BY_STAGE[step.stage]
        self._bars.update(self._tasks[step.server], completed=done, stage=stage)

    def __enter__(self) -> FleetProgress:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bars.stop()
