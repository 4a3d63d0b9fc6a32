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
    """Phase, bar, time left and losses; on a stderr that is no terminal, a line a minute."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr)
        self._progress = Progress(
            TextColumn("{task.description:12}"),
            BarColumn(),
            _Left(),
            TextColumn("{task.fields[losses]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("preparing", total=1.0, losses="", left_s=None)
        self._told_s = 0.0

    def update(self, news: TrainingProgress) -> None:
        losses = "  ".join(f"{name} {value:.4g}" for name, value in news.losses.items())
        self._progress.update(
            self._task,
            description=news.phase,
            completed=news.done,
            losses=f"step {news.step}  {losses}",
            left_s=news.left_s,
        )
        if not self._console.is_terminal and news.elapsed_s - self._told_s >= QUIET_EVERY_S:
            self._told_s = news.elapsed_s
            left = f"{news.left_s / 60:.0f} min left"
            self.note(f"{news.phase} step {news.step}, {news.done:.0%}, {left}  {losses}")

    def note(self, text: str) -> None:
        """One line above the bar."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> TrainingBar:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


class _Left(ProgressColumn):
    """Time left, from the steps made so far."""

    def render(self, task: Task) -> Text:
        left_s = task.fields.get("left_s")
        if left_s is None:
            return Text("-:--:--")
        minutes, seconds = divmod(int(left_s), 60)
        return Text(f"{minutes // 60}:{minutes % 60:02}:{seconds:02}", style="cyan")
