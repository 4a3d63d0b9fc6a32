"""Trainings in this process, with or without the report that follows."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

from edge_ad.training import session
from edge_ad.training.loop import TrainingProgress
from edge_ad.training.train_config import TrainConfig


def run(
    config: TrainConfig, stop_after: int | None = None, *, whole: bool = False
) -> dict[str, Any]:
    """Train; set `stop` after `stop_after` steps.

    Unless it is `whole`, nothing is compared with and no report written, a third of the time.
    """
    stop = threading.Event()

    def on_step(progress: TrainingProgress) -> None:
        if progress.step == stop_after:
            stop.set()

    with contextlib.nullcontext() if whole else _weights_alone():
        return session.train(config, stop, on_step)


@contextlib.contextmanager
def _weights_alone() -> Iterator[None]:
    with (
        mock.patch.object(session, "reference_line", lambda *_: {}),
        mock.patch.object(session, "write_report", lambda output, figures, *_: figures),
    ):
        yield
