"""A fake GPU in host memory, with streams that really wait and separate memory.

Nothing runs when it is queued. Work runs when someone waits for it, in an order that `choose` picks
among all that the events allow, so a test can try orders that a GPU would show once a year. Copies
read and write when they run, as on a GPU: what is overwritten too early arrives wrong.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edge_ad.engine.tensorrt.cuda import CaptureRefused, CudaError, CudaEvent, CudaStream

Choose = Callable[[Sequence["FakeStream"]], "FakeStream"]
_POISON = 0xA5  # in memory that nobody has written or that was freed


@dataclass
class _Entry:
    """One thing in a queue: work to run, or a mark to wait for."""

    name: str
    run: Callable[[], None] = lambda: None
    waits_for: FakeEvent | None = None
    ticket: int = 0


class FakeStream:
    """A queue; `capturing` collects entries for a graph in its place."""

    def __init__(self, cuda: FakeCuda, handle: int) -> None:
        self.handle = handle
        self.queue: deque[_Entry] = deque()
        self.capturing: list[_Entry] | None = None
        self._cuda = cuda

    def put(self, entry: _Entry) -> None:
        target = self.queue if self.capturing is None else self.capturing
        target.append(entry)

    def wait(self, event: CudaEvent) -> None:
        assert isinstance(event, FakeEvent)
        self.put(_Entry("wait", waits_for=event, ticket=event.recorded))

    def synchronize(self) -> None:
        self._cuda.run_until(lambda: not self.queue)

    @property
    def ready(self) -> bool:
        """Whether the first entry may run."""
        if not self.queue:
            return False
        event = self.queue[0].waits_for
        return event is None or event.reached >= self.queue[0].ticket


class FakeEvent:
    """A point in a stream; recording it again moves it, as on a GPU."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.recorded = 0
        self.reached = 0
        self.reached_at = 0
        self._cuda = cuda

    def record(self, stream: CudaStream) -> None:
        assert isinstance(stream, FakeStream)
        self.recorded += 1
        stream.put(_Entry("mark", run=lambda ticket=self.recorded: self._reach(ticket)))  # type: ignore[misc]

    def synchronize(self) -> None:
        recorded = self.recorded
        self._cuda.run_until(lambda: self.reached >= recorded)

    def ms_since(self, earlier: CudaEvent) -> float:
        assert isinstance(earlier, FakeEvent)
        if not self.reached or not earlier.reached:
            raise CudaError("an event was not reached")
        return float(self.reached_at - earlier.reached_at)

    def _reach(self, ticket: int) -> None:
        self.reached, self.reached_at = ticket, self._cuda.clock


class FakeGraph:
    """Entries that are queued again and again."""

    def __init__(self, cuda: FakeCuda, entries: list[_Entry]) -> None:
        self._cuda, self._entries = cuda, entries
        cuda.graphs += 1

    def launch(self, stream: CudaStream) -> None:
        assert isinstance(stream, FakeStream)
        stream.put(_Entry("replay", run=self._run))

    def close(self) -> None:
        self._cuda.graphs -= bool(self._entries)
        self._entries = []

    def _run(self) -> None:
        if not self._entries:
            raise CudaError("a graph was launched after it was freed")
        for entry in self._entries:
            entry.run()


@dataclass
class FakeCuda:
    """One gpu. `journal` lists what has run; `fails` names the entry or call that fails, and when.

    `fails = {"upload": 3}` lets the third upload fail; "memory" and "capture" fail at the call.
    An `integrated` one reads and writes page-locked arrays where they are.
    """

    choose: Choose = lambda streams: streams[0]
    fails: dict[str, int] = field(default_factory=dict)
    captures: bool = True
    integrated: bool = False
    journal: list[str] = field(default_factory=list)
    clock: int = 0
    graphs: int = 0
    closed: int = 0

    def __post_init__(self) -> None:
        self.streams: list[FakeStream] = []
        self._pinned: list[NDArray[Any]] = []
        self._memory: dict[int, NDArray[np.uint8]] = {}
        self._next_address = 0x1000
        self._depth = 0
        self._dead = ""

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        self._called("pinned")
        array = np.empty(shape, dtype)
        array.view(np.uint8)[...] = _POISON
        self._pinned.append(array)
        return array

    def mapped(self, array: NDArray[Any]) -> int | None:
        if not self.integrated:
            return None
        block = self._page_locked(array).reshape(-1).view(np.uint8)
        for address, known in self._memory.items():
            if np.shares_memory(known, block):
                return address
        return self._add(block)

    def memory(self, size: int) -> int:
        self._called("memory")
        return self._add(np.full(size, _POISON, np.uint8))

    def _add(self, block: NDArray[np.uint8]) -> int:
        address, self._next_address = self._next_address, self._next_address + len(block) + 64
        self._memory[address] = block
        return address

    def stream(self) -> FakeStream:
        self._called("stream")
        self.streams.append(FakeStream(self, len(self.streams) + 1))
        return self.streams[-1]

    def event(self) -> FakeEvent:
        self._called("event")
        return FakeEvent(self)

    def upload(self, to: int, array: NDArray[Any], stream: CudaStream) -> None:
        self._queue("upload", stream, lambda: self._put(to, self._page_locked(array)))

    def download(self, array: NDArray[Any], address: int, stream: CudaStream) -> None:
        def copy() -> None:
            target = self._page_locked(array)
            target[...] = self.read(address, target.nbytes).view(target.dtype).reshape(target.shape)

        self._queue("download", stream, copy)

    def capture(self, stream: CudaStream, work: Callable[[], None]) -> FakeGraph:
        assert isinstance(stream, FakeStream)
        if not self.captures:
            raise CaptureRefused("this GPU captures nothing")
        stream.capturing = []
        try:
            work()
        except CudaError as error:
            raise CaptureRefused(str(error)) from error
        finally:
            entries, stream.capturing = stream.capturing, None
        return FakeGraph(self, entries)

    def close(self) -> None:
        self.closed += 1
        for array in (*self._pinned, *self._memory.values()):
            array.view(np.uint8)[...] = _POISON
        self._pinned, self._memory, self.streams = [], {}, []

    @property
    def held(self) -> int:
        """Allocations not yet freed, on both sides."""
        return len(self._pinned) + len(self._memory)

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        """Bytes of the GPU's memory; an address that is not the start of a block is an error."""
        block = self._memory.get(address)
        if block is None or len(block) < size:
            raise CudaError(f"illegal address {address:#x}")
        return block[:size]

    def run_until(self, done: Callable[[], bool]) -> None:
        """Run queued work until `done`; work that waits for ever is an error."""
        while not done():
            self._fail_if_dead()
            ready = [stream for stream in self.streams if stream.ready]
            if not ready:
                raise CudaError("the queues wait for each other")
            self._run(self.choose(ready).queue.popleft())

    def execute(self, stream: CudaStream, name: str, run: Callable[[], None]) -> None:
        """Queue a program's own work."""
        self._queue(name, stream, run)

    def _queue(self, name: str, stream: CudaStream, run: Callable[[], None]) -> None:
        self._called(name)
        assert isinstance(stream, FakeStream)
        stream.put(_Entry(name, run=run))

    def _run(self, entry: _Entry) -> None:
        self.clock += 1
        try:
            entry.run()
        except CudaError as error:
            self._dead = str(error)  # like a GPU's sticky errors: everything after it fails too
        if entry.waits_for is None and entry.name != "mark":
            self.journal.append(entry.name)

    def _called(self, name: str) -> None:
        assert self._depth, f"{name} was called outside of current()"
        self._fail_if_dead()
        if name in self.fails:
            self.fails[name] -= 1
            if self.fails[name] == 0:
                raise CudaError(f"{name} failed")

    def _fail_if_dead(self) -> None:
        if self._dead:
            raise CudaError(self._dead)

    def _page_locked(self, array: NDArray[Any]) -> NDArray[Any]:
        if not any(np.shares_memory(array, block) for block in self._pinned):
            raise CudaError("an asynchronous copy of memory that is not page-locked")
        return array

    def _put(self, address: int, array: NDArray[Any]) -> None:
        self.read(address, array.nbytes)[...] = np.ascontiguousarray(array).view(np.uint8).ravel()
