"""The import of TensorRT: missing, broken, denied, or working."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_ad.engine.tensorrt import runtimes as runtime
from edge_ad.errors import IncompatibleError

WORKING = "__version__ = '10.3.0'\nclass Builder: ...\n"


def install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str | None, name: str = "tensorrt"
) -> None:
    """Put a module of this name before all others, or make sure that there is none."""
    package = tmp_path / name
    package.mkdir(exist_ok=True)
    monkeypatch.delitem(sys.modules, name, raising=False)
    if code is None:
        monkeypatch.setitem(sys.modules, name, None)
        return
    (package / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_working_module_is_returned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, WORKING)
    assert runtime.load("tensorrt").__version__ == "10.3.0"


def test_a_missing_module_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(IncompatibleError, match=r"not installed.*JetPack.*pip install tensorrt"):
        runtime.load("tensorrt")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ImportError('libnvinfer.so.10: cannot open shared object file')", "libnvinfer"),
        ("raise OSError('libnvinfer.so.10: wrong ELF class\\nmore')", "wrong ELF class"),
        ("import tensorrt_libs_that_are_gone", "tensorrt_libs_that_are_gone"),
        ("__version__ = '10.3.0'", "the module is empty"),
        ("", "the module is empty"),
        ("raise RuntimeError", "RuntimeError"),
    ],
    ids=["no library", "wrong library", "no package", "no builder", "empty folder", "no message"],
)
def test_a_broken_module_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, reason: str
) -> None:
    install(monkeypatch, tmp_path, code)
    with pytest.raises(IncompatibleError, match=f"does not load: .*{reason}"):
        runtime.load("tensorrt")


def test_a_version_on_the_deny_list_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, WORKING.replace("10.3.0", "10.2.0"))
    with pytest.raises(IncompatibleError, match=r"10\.2\.0 must not be used: .*builder library"):
        runtime.load("tensorrt")


def test_only_usable_runtimes_count_as_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, WORKING)
    install(monkeypatch, tmp_path, "raise ImportError('broken')", "tensorrt_rtx")
    assert runtime.installed() == {"tensorrt": "10.3.0"}


NO_DRIVER = (
    "IRuntime::deserializeCudaEngine: Error Code 1: Cuda Runtime (In ScopedCudaStream at "
    "/_src/common/dispatch/cudaResources.cpp:25 (cudaError 35: CUDA driver version is insufficient "
    "for CUDA runtime version))"
)
WRONG_TYPE = (
    "ITensor::getDimensions: Error Code 4: API Usage Error (t: first input has type UInt8. "
    "In checkType at /_src/optimizer/common/nodeBase.cpp:456)"
)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([], "TensorRT logged no reason"),
        (
            [NO_DRIVER, WRONG_TYPE],
            "ITensor::getDimensions: Error Code 4: API Usage Error (t: first input has type UInt8)",
        ),
        (
            [NO_DRIVER],
            "IRuntime::deserializeCudaEngine: Error Code 1: Cuda Runtime ((cudaError 35: CUDA "
            "driver version is insufficient for CUDA runtime version))",
        ),
        (["two\n  lines"], "two lines"),
    ],
    ids=["none", "the cause", "only the driver", "one line"],
)
def test_the_first_error_with_a_cause_is_kept(errors: list[str], expected: str) -> None:
    assert runtime.first_error(errors) == expected


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed"
)
def test_the_logger_keeps_errors_and_is_quiet_about_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trt = runtime.load("tensorrt-rtx")
    logger: Any = runtime.make_logger(trt)
    logger.log(trt.ILogger.ERROR, "no tactic")
    logger.log(trt.ILogger.WARNING, "slow")
    logger.log(trt.ILogger.VERBOSE, "tactic 17")
    assert (logger.errors, logger.warnings) == (["no tactic"], ["slow"])
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
