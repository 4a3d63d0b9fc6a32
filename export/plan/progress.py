"""Follow a build by TensorRT's own progress monitor, and cancel it on Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_ad.engine.tensorrt.runtimes import TensorRT

OnProgress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and the phase's name; from TensorRT's threads."""


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class BuildProgress:
    """Progress of nested phases as one share that only grows. Thread-safe.

    A phase counts as one step of its parent; TensorRT names phases uniquely while they run.
    """

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self._lock = threading.Lock()
        self._share = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Add a phase of `steps` steps."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))

    def step(self, name: str, step: int) -> float:
        """Record that `step` of a phase has ended, and return the share done."""
        with self._lock:
            if phase := self._phases.get(name):
                phase.done = min(step + 1, phase.steps)
            self._share = max(self._share, self._share_at(name))
            return self._share

    def finish(self, name: str) -> None:
        """Remove a phase; unknown ones are ignored."""
        with self._lock:
            self._phases.pop(name, None)

    def _share_at(self, name: str | None) -> float:
        """Return the share done when the innermost running phase is `name`."""
        share = 0.0
        while name is not None and (phase := self._phases.get(name)):
            share = min((phase.done + share) / phase.steps, 1.0)
            name = phase.parent
        return share


def monitor(trt: TensorRT, on_progress: OnProgress, interrupt: BuildInterrupt) -> Any:
    """Return an IProgressMonitor that calls `on_progress`, and cancels the build after Ctrl-C."""
    progress = BuildProgress()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the base is known only at run time
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            on_progress(progress.step(phase_name, step), phase_name)
            return not interrupt.pressed

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()


class BuildInterrupt:
    """Records Ctrl-C while its block runs, and raises KeyboardInterrupt at the block's end.

    During a build Python runs signal handlers in TensorRT's callbacks, mostly in the logger, and
    TensorRT prints and drops what they raise, so the interrupt would be lost.
    """

    def __init__(self) -> None:
        self.pressed = False

    def __enter__(self) -> BuildInterrupt:
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():  # others get no signals
            self._before = signal.signal(signal.SIGINT, self._record)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if self.pressed and kind is None:
            raise KeyboardInterrupt

    def _record(self, number: int, frame: object) -> None:
        self.pressed = True
