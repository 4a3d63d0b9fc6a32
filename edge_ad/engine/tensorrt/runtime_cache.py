"""Configure TensorRT-RTX at load time: graph replay, and kernels cached between starts.

TensorRT-RTX compiles kernels for the present GPU when it loads a plan. They are stored in the
user's cache folder, one file per plan, GPU and version, so that the next start need not compile.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from edge_ad.engine.tensorrt.runtimes import TensorRT
from edge_ad.files import write_bytes
from edge_ad.machine.cache import cache_folder
from edge_ad.plan_record import TargetGpu

_log = logging.getLogger(__name__)


class RuntimeCache:
    """Compiled kernels, loaded from a file and saved to it."""

    def __init__(self, config: Any, path: Path) -> None:
        self.path = path
        self._cache = config.create_runtime_cache()
        self._stored = _read(path)
        if self._stored and not self._cache.deserialize(self._stored):
            _log.info("%s does not match and is written again", path)
        config.set_runtime_cache(self._cache)

    def save(self) -> None:
        """Save the kernels if there are new ones; log a warning if the file cannot be written."""
        kernels = bytes(self._cache.serialize())
        if kernels == self._stored:
            return
        try:
            write_bytes(self.path, kernels)
        except OSError as error:
            _log.warning(
                "kernels are compiled again at each start, since %s cannot be written (%s)",
                self.path,
                error,
            )
        self._stored = kernels


def is_supported(trt: TensorRT) -> bool:
    """Return whether this TensorRT captures graphs and caches kernels by itself."""
    return hasattr(trt, "CudaGraphStrategy")


def configure(
    trt: TensorRT, engine: Any, cache_file: Path, *, graphs: bool
) -> tuple[Any, RuntimeCache]:
    """Return a runtime configuration for an execution context, and its kernel cache."""
    config = engine.create_runtime_config()
    strategy = trt.CudaGraphStrategy
    config.cuda_graph_strategy = strategy.WHOLE_GRAPH_CAPTURE if graphs else strategy.DISABLED
    return config, RuntimeCache(config, cache_file)


def cache_file(plan_sha256: str, version: str, gpu: TargetGpu) -> Path:
    """Return a path like `~/.cache/edge-ad/0123456789abcdef-1.7.1.116-sm8.9.kernels`."""
    return cache_folder() / f"{plan_sha256[:16]}-{version}-sm{gpu.compute_capability}.kernels"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
