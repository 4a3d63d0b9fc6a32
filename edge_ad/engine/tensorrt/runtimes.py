"""Import TensorRT or TensorRT-RTX: the only file that does.

The two share one Python interface, so all other code takes the module as an argument and checks
its features (`hasattr`) instead of the platform.
"""

from __future__ import annotations

import logging
import re
from typing import Any, TypeAlias

from edge_ad.errors import IncompatibleError
from edge_ad.plan_record import NAMES, Runtime, denied

# The module `tensorrt` or `tensorrt_rtx`. Neither has type stubs, and their classes differ by
# version, so it cannot be typed.
TensorRT: TypeAlias = Any

_PACKAGES: dict[Runtime, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_INSTALL: dict[Runtime, str] = {
    "tensorrt": "On a Jetson it comes with JetPack (sudo apt install python3-libnvinfer, and a "
    "virtual environment made with --system-site-packages); on a PC: pip install tensorrt",
    "tensorrt-rtx": "Install it with: pip install tensorrt-rtx-cu13",
}
# Logged on every machine without a driver; the cause of a failure is another message.
_NOISE = re.compile(r"cudaError 35\b|catchCudaError")
_WHERE = re.compile(r"\.? ?\bIn \w+ at /[^)\s]*(:\d+)? ?")  # source lines of a closed library


def load(runtime: Runtime) -> TensorRT:
    """Import the module of a runtime.

    Raises IncompatibleError when it is missing, broken, or of a version known to be bad.
    """
    try:
        module = _import(runtime)
    except ModuleNotFoundError as error:
        if error.name != _PACKAGES[runtime]:
            raise _broken(runtime, error) from error
        raise IncompatibleError(
            f"{NAMES[runtime]} is not installed. {_INSTALL[runtime]}"
        ) from error
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise _broken(runtime, error) from error
    return _checked(runtime, module)


def installed() -> dict[Runtime, str]:
    """Return the usable runtimes and their versions."""
    versions: dict[Runtime, str] = {}
    for runtime in NAMES:
        try:
            versions[runtime] = load(runtime).__version__
        except IncompatibleError:
            continue
    return versions


def make_logger(trt: TensorRT) -> Any:
    """Return a TensorRT logger that collects `errors` and `warnings` and passes all to logging."""
    log = logging.getLogger("edge_ad.tensorrt")
    levels = {
        trt.ILogger.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.ERROR: logging.ERROR,
        trt.ILogger.WARNING: logging.INFO,
    }

    class Logger(trt.ILogger):  # type: ignore[misc]  # the base is known only at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            level = levels.get(severity, logging.DEBUG)
            if level == logging.ERROR:
                self.errors.append(text)
            elif level == logging.INFO:
                self.warnings.append(text)
            log.log(min(level, logging.INFO), text)

    return Logger()


def first_error(errors: list[str]) -> str:
    """Return the first message with a cause, on one line, without source locations."""
    causes = [text for text in errors if not _NOISE.search(text)] or errors
    if not causes:
        return "TensorRT logged no reason"
    return _WHERE.sub("", " ".join(causes[0].split())).strip()


def is_out_of_memory(reason: str) -> bool:
    """Return whether a message of CUDA or TensorRT is about too little GPU memory."""
    return bool(re.search(r"out ?of ?memory|insufficient (gpu )?memory|bytes of", reason, re.I))


def _import(runtime: Runtime) -> TensorRT:
    if runtime == "tensorrt":
        import tensorrt

        return tensorrt
    import tensorrt_rtx

    return tensorrt_rtx


def _checked(runtime: Runtime, module: TensorRT) -> TensorRT:
    version = getattr(module, "__version__", "")
    if not version or not hasattr(module, "Builder"):  # an empty folder is a module too
        raise _broken(runtime, "the module is empty")
    if reason := denied(runtime, version):
        raise IncompatibleError(
            f"{NAMES[runtime]} {version} must not be used: {reason}. Install another version."
        )
    return module


def _broken(runtime: Runtime, error: object) -> IncompatibleError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return IncompatibleError(
        f"{NAMES[runtime]} is installed but does not load: {first}. "
        f"Uninstall it and install it again. {_INSTALL[runtime]}"
    )
