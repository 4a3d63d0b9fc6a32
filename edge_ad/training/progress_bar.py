"""The progress bar of a training, on stderr."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from edge_ad.training.loop import TrainingProgress

QUIET_EVERY_S = 60.0


class TrainingBar:
    """Phase, bar, time left and losses; one line per minute where stderr is not a terminal."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr)
        self._bar = Progress(
            TextColumn("{task.description:12}"),
            BarColumn(),
            _TimeLeft(),
            TextColumn("{task.fields[losses]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("preparing", total=1.0, losses="", left_s=None)
        self._printed_s = 0.0

    def update(self, progress: TrainingProgress) -> None:
        """Show a step."""
        losses = "  ".join(f"{name} {value:.4g}" for name, value in progress.losses.items())
        self._bar.update(
            self._task,
            description=progress.phase,
            completed=progress.done,
            losses=f"step {progress.step}  {losses}",
            left_s=progress.left_s,
        )
        self._printed_s = min(self._printed_s, progress.elapsed_s)  # another training began
        if progress.done >= 1:  # what follows takes minutes without a step
            self.print(f"trained in {progress.step} steps; measuring the result")
            return
        if self._console.is_terminal or progress.elapsed_s - self._printed_s < QUIET_EVERY_S:
            return
        self._printed_s = progress.elapsed_s
        left = f"{progress.left_s / 60:.0f} min left"
        self.print(f"{progress.phase} step {progress.step}, {progress.done:.0%}, {left}  {losses}")

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> TrainingBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


class _TimeLeft(ProgressColumn):
    """Time left, estimated from the steps so far."""

    def render(self, task: Task) -> Text:
        left_s = task.fields.get("left_s")
        if left_s is None:
            return Text("-:--:--")
        minutes, seconds = divmod(int(left_s), 60)
        return Text(f"{minutes // 60}:{minutes % 60:02}:{seconds:02}", style="cyan")
