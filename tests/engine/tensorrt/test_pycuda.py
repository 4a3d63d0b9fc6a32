"""PyCUDA as we call it: every call in its context, every handle freed.

The module is fake; `tests/gpu` runs the same on a GPU.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_ad.engine.tensorrt import pycuda
from edge_ad.engine.tensorrt.cuda import CudaError
from edge_ad.engine.tensorrt.pycuda import PyCuda
from edge_ad.errors import IncompatibleError, MissingExtra


class FakeError(Exception): ...


class FakeMemoryError(FakeError): ...


class Handle:
    """Freed by `free`, or with its last reference, as PyCUDA's are."""

    driver: FakeDriver
    handle = 7

    def __init__(self, *arguments: object) -> None:
        self._freed = True
        self.driver.call(type(self).__name__.lower())
        self.driver.alive += 1
        self._freed = False

    def __int__(self) -> int:
        return 4096

    def free(self) -> None:
        assert self.driver.depth, "freed without a context"
        self.driver.alive -= not self._freed
        self._freed = True

    def __del__(self) -> None:
        if not self._freed and self.driver.depth:
            self.free()

    def synchronize(self) -> None:
        self.driver.call("synchronize")

    def wait_for_event(self, event: object) -> None:
        self.driver.call("wait")

    def record(self, stream: object) -> None:
        self.driver.call("record")

    def time_since(self, earlier: object) -> float:
        self.driver.call("time_since")
        return 1.5


class FakeDriver(ModuleType):
    """pycuda.driver: counts what is alive, refuses what is done outside of a context."""

    def __init__(self) -> None:
        super().__init__("pycuda.driver")
        self.depth = 0
        self.alive = 0
        self.fail = ""
        self.integrated = False
        self.host_alloc_flags = SimpleNamespace(DEVICEMAP=2)
        self.device_attribute = SimpleNamespace(INTEGRATED=18, CAN_MAP_HOST_MEMORY=19)
        self.Error, self.MemoryError = FakeError, FakeMemoryError
        self.Stream, self.Event, self._allocation = (
            type(name, (Handle,), {"driver": self}) for name in ("Stream", "Event", "Memory")
        )
        self.Context = SimpleNamespace(
            pop=self._pop, synchronize=lambda: self.call("synchronize"), push=self._push
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
        return SimpleNamespace(
            retain_primary_context=lambda: self.Context,
            get_attribute=lambda name: int(self.integrated),
        )

    def mem_alloc(self, size: int) -> Any:
        return self._allocation(size)

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: Any, mem_flags: int = 0) -> Any:
        memory = self._allocation()
        assert mem_flags == (2 if self.integrated else 0), "CU_MEMHOSTALLOC_DEVICEMAP"
        memory.get_device_pointer = lambda: 8192

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


def test_page_locked_memory_is_mapped_on_an_integrated_gpu_alone(driver: FakeDriver) -> None:
    for integrated, address in ((False, None), (True, 8192)):
        driver.integrated = integrated
        cuda = PyCuda()
        with cuda.current():
            assert cuda.mapped(cuda.pinned((2, 3), np.float32)) == address
        cuda.close()
    assert driver.alive == 0


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
