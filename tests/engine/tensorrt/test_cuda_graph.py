"""CUDA graphs captured through cuda-python, which is fake here; `tests/gpu` runs it on a GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from edge_ad.engine.tensorrt.cuda import CaptureRefused, CudaError
from edge_ad.engine.tensorrt.cuda_graph import capture


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
