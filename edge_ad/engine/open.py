"""Open an engine file with the runtime that its suffix names."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edge_ad.engine.base import Engine
from edge_ad.engine.lasting import LastingEngine, LastingOverlappingEngine
from edge_ad.engine.options import DEFAULT_OPTIONS, EngineOptions
from edge_ad.errors import UsageError
from edge_ad.triton import served_model

_COMMANDS = {
    ".onnx": "edge-ad export WEIGHTS.pt -o {path}",
    ".plan": "edge-ad build {onnx} -o {path}",
}


def open_engine(
    path: Path | str, options: EngineOptions = DEFAULT_OPTIONS, *, for_line: bool = False
) -> Engine:
    """Load, check and warm up the engine in `path`; use it in a `with` block.

    An engine `for_line` is opened again when its GPU fails. On the CPU, an ONNX file's threads
    follow the computer's load, unless `options` has their number; outputs do not depend on it.

    Raises UsageError for a missing file or unknown kind, IncompatibleError for a file that breaks
    the contract or does not fit this machine; for an address of an inference server
    (`triton://HOST:PORT/MODEL`), EngineLost when it does not answer.
    """
    served = served_model(path)
    if served is not None:
        from edge_ad.engine.triton import TritonEngine

        return LastingEngine(partial(TritonEngine, served)) if for_line else TritonEngine(served)
    path = Path(path)
    _check_file(path)
    if path.suffix == ".onnx":
        return _open_onnx(path, options, for_line=for_line)
    from edge_ad.engine.tensorrt.plan import open_plan

    opener = partial(open_plan, path, options)
    return LastingOverlappingEngine(opener) if for_line else opener()


def _check_file(path: Path) -> None:
    """Raise UsageError for a missing file or one of an unknown kind."""
    if path.suffix not in _COMMANDS:
        kinds = " or ".join(_COMMANDS)
        hint = f" Export the weights with: edge-ad export {path}" if path.suffix == ".pt" else ""
        raise UsageError(f"{path}: unknown kind of engine '{path.suffix}', expected {kinds}.{hint}")
    if not path.is_file():
        command = _COMMANDS[path.suffix].format(path=path, onnx=path.with_suffix(".onnx"))
        raise UsageError(f"no engine at {path}. Make one with: {command}")


def _open_onnx(path: Path, options: EngineOptions, *, for_line: bool) -> Engine:
    if options.runtime == "openvino":
        from edge_ad.engine.openvino import OpenVinoEngine

        return OpenVinoEngine(path, options)
    if for_line and options.device == "cpu" and not options.threads:
        from edge_ad.engine.switching import SwitchingEngine

        return SwitchingEngine(path, options)
    from edge_ad.engine.onnxruntime import OnnxRuntimeEngine

    if for_line and options.device == "cuda":
        return LastingEngine(partial(OnnxRuntimeEngine, path, options))
    return OnnxRuntimeEngine(path, options)
