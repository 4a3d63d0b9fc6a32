"""Watch a folder into which a camera or another program writes images (`watch:DIR`).

A file is delivered once it is completely written: its size and time have stood still for a moment
and it decodes. One that stands still and does not decode is given up later, as a BadFrame. Names
that begin with a dot and those without a suffix of images are left alone, so that a writer that
renames its finished file is safe in any case.

What was judged stands in a ledger, so that every file is judged once, also after a restart; a file
that was delivered but not judged when the process died is judged then.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_ad.errors import DataError, SourceLost, UsageError
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.images import SUFFIXES, ImageReader, ReadImage, read_image
from edge_ad.source.base import SourceRequest
from edge_ad.source.ledger import FileState, Ledger
from edge_ad.uri import Uri, number

LEDGER = ".edge-ad-judged"
_THEN = frozenset({"keep", "delete"})
_LOOK_EVERY_S = 0.1
_REST = 4  # times as long as a look took: a folder of 100 000 files keeps no core busy
_log = logging.getLogger(__name__)


def check_watch(uri: Uri) -> None:
    """Raise UsageError for wrong options."""
    _times_s(uri)
    then, ledger = _then(uri), _ledger(uri)
    if then not in _THEN and not Path(then).is_dir():
        raise UsageError(f"{uri}: option then must be keep, delete or a folder, got '{then}'.")
    if then not in _THEN and Path(then).resolve() == Path(uri.place).resolve():
        raise UsageError(f"{uri}: option then must be another folder than the watched.")
    if "ledger" in uri.options and (ledger.is_dir() or not ledger.parent.is_dir()):
        raise UsageError(f"{uri}: option ledger must be a file in a folder, got '{ledger}'.")


def open_watch(request: SourceRequest) -> Iterator[Grab]:
    """Watch a folder. Raises SourceLost when there is none, UsageError for wrong options."""
    uri = request.uri
    folder, depth = Path(uri.place), request.depth()
    check_watch(uri)
    if not folder.is_dir():
        raise SourceLost(f"{request.name}: no such folder. Make it, or check the name.")
    read = ImageReader(depth) if depth else read_image
    return WatchedFolder(folder, request, Ledger(_ledger(uri)), read, _then(uri), *_times_s(uri))


def _times_s(uri: Uri) -> tuple[float, float]:
    return number(uri, "settle_s", 0.3), number(uri, "give_up_s", 10.0)


def _then(uri: Uri) -> str:
    return uri.options.get("then", "keep")


def _ledger(uri: Uri) -> Path:
    return Path(uri.options.get("ledger", Path(uri.place) / LEDGER))


class WatchedFolder(Iterator[Grab]):
    """The images of a folder as they are completed, oldest first; it waits for them without end.

    `recorded` is called with the index of each grab whose verdict is recorded. Tests give a `clock`
    and `pause`, which waits and returns whether the source was closed.
    """

    def __init__(
        self,
        folder: Path,
        request: SourceRequest,
        ledger: Ledger,
        read: ReadImage = read_image,
        then: str = "keep",
        settle_s: float = 0.3,
        give_up_s: float = 10.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        self._folder, self._name, self._ledger, self._read = folder, request.name, ledger, read
        self._then, self._settle_s, self._give_up_s = then, settle_s, give_up_s
        self._clock, self._pause = clock, pause or request.closed.wait
        self._since: dict[FileState, float] = {}  # files that wait, and since when they stand still
        self._ready: deque[FileState] = deque()
        self._given: dict[int, FileState] = {}
        self._given_names: set[str] = set()
        self._lock = threading.Lock()  # for the ledger
        self._index = 0
        self._gone = False

    def __next__(self) -> Grab:
        while True:
            began = self._clock()
            grab = self._look() or self._next_ready()
            if grab is not None:
                return grab
            if self._pause(max(_LOOK_EVERY_S, _REST * (self._clock() - began))):
                raise StopIteration

    def recorded(self, index: int) -> None:
        """Note that a grab's verdict is recorded, and keep, delete or move its file."""
        with self._lock:
            state = self._given.pop(index, None)
            if state is None:
                return
            self._note("the list of judged files cannot be written yet", self._ledger.add, state)
            where = (
                "it cannot be deleted" if self._then == "delete" else f"not moved to {self._then}"
            )
            self._note(f"{where}, and stays", self._put_away, state)
            self._given_names.discard(state.name)

    def _note(self, problem: str, step: Callable[[FileState], None], state: FileState) -> None:
        """Take a step with a judged file; its failure is logged, and stops nothing."""
        try:
            step(state)
        except OSError as error:
            reason = error.strerror or error
            _log.error("%s: %s was judged; %s (%s)", self._name, state.name, problem, reason)

    def close(self) -> None:
        """Release the ledger."""
        with self._lock:
            self._ledger.close()

    def _look(self) -> Grab | None:
        """List what stands still, oldest first; return a BadFrame when the folder has just gone."""
        if self._ready:
            return None
        try:
            waiting = self._waiting()
        except OSError as error:
            if self._gone:
                return None
            self._gone = True
            return self._bad(f"the watched folder cannot be listed: {error.strerror or error}", "")
        self._gone = False
        now = self._clock()
        still = [state for state in waiting if now - self._since[state] >= self._settle_s]
        self._ready.extend(sorted(still, key=lambda state: (state.mtime_ns, state.name)))
        return None

    def _next_ready(self) -> Grab | None:
        while self._ready:
            state = self._ready.popleft()
            grab = self._try(state, self._clock() - self._since[state])
            if grab is not None:
                return grab
        return None

    def _waiting(self) -> list[FileState]:
        """Return the files that are neither judged nor delivered, and note since when."""
        now, found, names = self._clock(), {}, set()
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or Path(entry.name).suffix.lower() not in SUFFIXES:
                    continue
                names.add(entry.name)
                with contextlib.suppress(OSError):  # it has gone meanwhile
                    state = _state(entry)
                    if state is not None:
                        found[state] = self._since.get(state, now)
        with self._lock:
            self._ledger.forget_all_but(names)
            waiting = [
                state
                for state in found
                if state not in self._ledger and state.name not in self._given_names
            ]
        self._since = {state: found[state] for state in waiting}
        return waiting

    def _try(self, state: FileState, still_s: float) -> Grab | None:
        """Return the file's image, or a BadFrame when it has been damaged for long."""
        path = self._folder / state.name
        try:
            image = self._read(path)
            stat = path.stat()
        except Exception as error:  # one file that no reader foresaw must not keep all others
            if still_s < self._give_up_s or not path.exists():
                return None
            known = isinstance(error, DataError | OSError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            return self._give(state, self._bad(reason, state.name))
        if (stat.st_size, stat.st_mtime_ns) != state[1:]:  # written while it was read
            return None
        frame = Frame(image, self._index, time.monotonic(), self._name, state.name)
        self._index += 1
        return self._give(state, frame)

    def _give(self, state: FileState, grab: Grab) -> Grab:
        self._given[grab.index] = state
        self._given_names.add(state.name)
        return grab

    def _bad(self, reason: str, file: str) -> BadFrame:
        bad = BadFrame(reason, self._index, time.monotonic(), self._name, file)
        self._index += 1
        return bad

    def _put_away(self, state: FileState) -> None:
        path = self._folder / state.name
        if self._then == "keep" or not path.exists():
            return
        stat = path.stat()
        if (stat.st_size, stat.st_mtime_ns) != state[1:]:
            return  # the next part's image has this name already
        if self._then == "delete":
            path.unlink()
        else:
            shutil.move(path, _free(Path(self._then), state.name))


def _state(entry: os.DirEntry[str]) -> FileState | None:
    """Return a file's state, None for what is not a file."""
    if not entry.is_file():
        return None
    stat = entry.stat()
    return FileState(entry.name, stat.st_size, stat.st_mtime_ns)


def _free(folder: Path, name: str) -> Path:
    """Return a path in a folder that no file has: names of cameras begin again after a restart."""
    path, number = folder / name, 1
    while path.exists():
        number += 1
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return path
