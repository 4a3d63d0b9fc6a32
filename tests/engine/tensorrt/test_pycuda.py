"""PyCUDA and cuda-python as we call them: every call in its context, every handle freed.

Their modules are fake; `tests/gpu` runs the same on a GPU.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_ad.engine.tensorrt import pycuda
from edge_ad.engine.tensorrt.cuda import CaptureRefused, CudaError
from edge_ad.engine.tensorrt.cuda_graph import capture
from edge_ad.engine.tensorrt.pycuda import PyCuda
from edge_ad.errors import IncompatibleError, MissingExtra


class FakeDriver(ModuleType):
    """pycuda.driver: counts what is alive, refuses what is done outside of a context."""

    def __init__(self) -> None:
        super().__init__("pycuda.driver")
        self.depth = 0
        self.alive = 0
        self.fail = ""
        driver = self

        class Error(Exception): ...

        class MemoryError_(Error): ...

        class Handle:
            """Freed by `free`, or with its last reference, as PyCUDA's are."""

            handle = 7

            def __init__(self, *arguments: object) -> None:
                self._freed = True
                driver.call(type(self).__name__.lower())
                driver.alive += 1
                self._freed = False

            def __int__(self) -> int:
                return 4096

            def free(self) -> None:
                assert driver.depth, "freed without a context"
                driver.alive -= not self._freed
                self._freed = True

            def __del__(self) -> None:
                if not self._freed and driver.depth:
                    self.free()

            def synchronize(self) -> None:
                driver.call("synchronize")

            def wait_for_event(self, event: object) -> None:
                driver.call("wait")

            def record(self, stream: object) -> None:
                driver.call("record")

            def time_since(self, earlier: object) -> float:
                driver.call("time_since")
                return 1.5

        self.Error, self.MemoryError = Error, MemoryError_
        self.Stream = type("Stream", (Handle,), {})
        self.Event = type("Event", (Handle,), {})
        self._allocation = type("Memory", (Handle,), {})
        self.Context = SimpleNamespace(
            pop=self._pop, synchronize=lambda: driver.call("synchronize"), push=self._push
        )
        self.Context.detach = lambda: None

    def call(self, name: str) -> None:
        assert self.depth, f"{name} without a context"
        if name == self.fail:
            kind = self.MemoryError if name == "memory" else self.Error
            raise kind(f"{name} failed: unspecified launch failure")

    def init(self) -> None:
        if self.fail == "init":
            raise self.Error("cuInit failed: no CUDA-capable device is detected")

    def Device(self, index: int) -> Any:  # PyCUDA's name
        return SimpleNamespace(retain_primary_context=lambda: self.Context)

    def mem_alloc(self, size: int) -> Any:
        return self._allocation(size)

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        memory = self._allocation()

        class Array(np.ndarray):
            base = memory

        return np.empty(shape, dtype).view(Array)

    def memcpy_htod_async(self, to: int, array: Any, stream: Any) -> None:
        self.call("upload")

    def memcpy_dtoh_async(self, array: Any, address: int, stream: Any) -> None:
        self.call("download")

    def mem_get_info(self) -> tuple[int, int]:
        return 100 << 20, 8192 << 20

    def _push(self) -> None:
        self.depth += 1

    def _pop(self) -> None:
        self.depth -= 1


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    fake = FakeDriver()
    package = ModuleType("pycuda")
    package.driver = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", fake)
    pycuda.primary_context.cache_clear()
    yield fake
    pycuda.primary_context.cache_clear()


def used(cuda: PyCuda) -> None:
    """Everything an engine does."""
    array, address = cuda.pinned((2, 3), np.float32), cuda.memory(24)
    stream, event, later = cuda.stream(), cuda.event(), cuda.event()
    cuda.upload(address, array, stream)
    event.record(stream)
    stream.wait(event)
    cuda.download(array, address, stream)
    later.record(stream)
    later.synchronize()
    stream.synchronize()
    assert later.ms_since(event) == 1.5
    assert (address, stream.handle) == (4096, 7)


def test_closing_frees_every_handle_inside_the_context(driver: FakeDriver) -> None:
    cuda = PyCuda()
    with cuda.current():
        used(cuda)
    assert driver.alive == 5
    cuda.close()
    cuda.close()
    assert (driver.alive, driver.depth) == (0, 0)


def test_gpus_are_shared_by_engines(driver: FakeDriver) -> None:
    first, second = PyCuda(), PyCuda()
    with first.current(), second.current():
        kept = second.memory(8)
    first.close()
    assert (kept, driver.alive) == (4096, 1)
    second.close()
    assert driver.alive == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("memory", r"cannot allocate 24 bytes of page-locked memory \(100 of 8192 MiB are free\)"),
        ("stream", "cannot create a stream"),
        ("event", "cannot create an event"),
        ("upload", "upload failed: .*unspecified launch failure"),
        ("record", "cannot be recorded"),
        ("wait", "cannot wait"),
        ("download", "download failed"),
        ("synchronize", "the GPU reports"),
        ("time_since", "was not reached"),
    ],
)
def test_failures_become_cuda_errors_and_free_everything(
    driver: FakeDriver, call: str, words: str
) -> None:
    cuda = PyCuda()
    driver.fail = call
    with pytest.raises(CudaError, match=words), cuda.current():
        used(cuda)
    gc.collect()  # the fake handles' own frames, which the error's trace holds
    cuda.close()
    assert (driver.alive, driver.depth) == (0, 0)


def test_a_driver_without_a_gpu_is_reported(driver: FakeDriver) -> None:
    driver.fail = "init"
    with pytest.raises(CudaError, match="no CUDA-capable device"):
        PyCuda()


def test_missing_pycuda_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.delitem(sys.modules, "pycuda.driver", raising=False)
    with pytest.raises(MissingExtra, match=r"edge-ad\[tensorrt\]"):
        PyCuda()


def test_pycuda_without_a_driver_library_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda" / "__init__.py").touch()
    broken = "raise ImportError('libcuda.so.1: cannot open shared object file')"
    (tmp_path / "pycuda" / "driver.py").write_text(broken)
    for name in ("pycuda", "pycuda.driver"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(IncompatibleError, match=r"libcuda\.so\.1.*Install the NVIDIA driver"):
        PyCuda()
    monkeypatch.delitem(sys.modules, "pycuda")


class Status(int):
    """CUresult: zero is success, and every one has a name."""

    @property
    def name(self) -> str:
        return "CUDA_SUCCESS" if self == 0 else "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"


def fake_bindings(fail: str = "") -> tuple[Any, list[str]]:
    """cuda.bindings.driver and what was called; the call named `fail` fails."""
    calls: list[str] = []

    def call(name: str, *values: object) -> Callable[..., tuple[object, ...]]:
        def run(*arguments: object) -> tuple[object, ...]:
            calls.append(name)
            return (Status(900 if name == fail else 0), *values)

        return run

    bindings = SimpleNamespace(
        CUstreamCaptureMode=SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1),
        cuStreamBeginCapture=call("begin"),
        cuStreamEndCapture=call("end", "graph"),
        cuGraphInstantiate=call("instantiate", "executable"),
        cuGraphDestroy=call("destroy"),
        cuGraphLaunch=call("launch"),
        cuGraphExecDestroy=call("free"),
    )
    return bindings, calls


def install(monkeypatch: pytest.MonkeyPatch, bindings: Any) -> None:
    package = ModuleType("cuda")
    package.bindings = SimpleNamespace(driver=bindings)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuda", package)
    monkeypatch.setitem(sys.modules, "cuda.bindings", package.bindings)


STREAM: Any = SimpleNamespace(handle=7)


def test_a_graph_is_captured_launched_and_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    bindings, calls = fake_bindings()
    install(monkeypatch, bindings)
    graph = capture(7, lambda: calls.append("work"))
    graph.launch(STREAM)
    graph.close()
    graph.close()
    assert calls == ["begin", "work", "end", "instantiate", "destroy", "launch", "free"]


def test_older_bindings_work_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuda-python before 12.8 calls them cuda.cuda."""
    bindings, calls = fake_bindings()
    package = ModuleType("cuda")
    package.cuda = bindings  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuda", package)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    capture(7, lambda: None)
    assert calls[-1] == "destroy"


@pytest.mark.parametrize(
    ("fail", "calls"),
    [
        ("begin", ["begin"]),
        ("end", ["begin", "work", "end"]),
        ("instantiate", ["begin", "work", "end", "instantiate", "destroy"]),
    ],
)
def test_a_refused_capture_says_why(
    monkeypatch: pytest.MonkeyPatch, fail: str, calls: list[str]
) -> None:
    bindings, made = fake_bindings(fail)
    install(monkeypatch, bindings)
    with pytest.raises(CaptureRefused, match="STREAM_CAPTURE_INVALIDATED"):
        capture(7, lambda: made.append("work"))
    assert made == calls


def test_bindings_newer_than_the_driver_capture_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bindings, _ = fake_bindings()

    def unknown(*arguments: object) -> None:
        raise RuntimeError('Function "cuStreamBeginCapture" not found')

    bindings.cuStreamBeginCapture = unknown
    install(monkeypatch, bindings)
    with pytest.raises(CaptureRefused, match="do not match the driver"):
        capture(7, lambda: None)


def test_work_that_fails_leaves_capture_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    bindings, calls = fake_bindings()
    install(monkeypatch, bindings)

    def work() -> None:
        raise CudaError("TensorRT reports: a layer synchronizes")

    with pytest.raises(CaptureRefused, match="a layer synchronizes"):
        capture(7, work)
    assert calls == ["begin", "end"]


def test_a_launch_that_fails_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    bindings, _ = fake_bindings("launch")
    install(monkeypatch, bindings)
    with pytest.raises(CudaError, match="cannot replay"):
        capture(7, lambda: None).launch(STREAM)


def test_without_cuda_python_nothing_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda", None)
    with pytest.raises(CaptureRefused, match=r"edge-ad\[tensorrt\]"):
        capture(7, lambda: None)
