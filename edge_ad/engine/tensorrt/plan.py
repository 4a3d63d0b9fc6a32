"""Engines on TensorRT and TensorRT-RTX: a plan, checked, loaded and warmed up.

`pycuda` provides memory, streams and events, `pipeline` uses them, and `program` loads the plan.
This module makes sure that nothing stays allocated after any failure.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_ad.closeable import ClosedAtExit
from edge_ad.engine.base import GpuTimes, Prediction, check_batch
from edge_ad.engine.options import DEFAULT_OPTIONS, EngineOptions
from edge_ad.engine.tensorrt.cuda import Cuda, CudaError
from edge_ad.engine.tensorrt.pipeline import Pipeline, Program
from edge_ad.engine.tensorrt.preflight import check_plan
from edge_ad.engine.tensorrt.program import load_program
from edge_ad.engine.tensorrt.pycuda import PyCuda
from edge_ad.engine.tensorrt.runtimes import is_out_of_memory
from edge_ad.errors import EngineLost
from edge_ad.frame import Image
from edge_ad.manifest import Manifest

_log = logging.getLogger(__name__)


class TensorRTEngine(ClosedAtExit):
    """A compiled network on a GPU.

    `infer` is `submit` and `collect` in one call. Callers with work to do in between call the two
    themselves: results come in the order of submission, two batches may be in flight, and the
    arrays are the caller's to keep. Calls may come from any thread, one at a time.

    Raises EngineLost when the GPU fails, in the constructor and later; the engine is then closed.
    """

    def __init__(
        self,
        name: str,
        manifest: Manifest,
        cuda: Cuda,
        load: Callable[[], Program],
        *,
        graphs: bool = True,
    ) -> None:
        self.name, self.manifest = name, manifest
        self._cuda: Cuda | None = cuda
        self._resources = contextlib.ExitStack()
        with self._closing_on_failure():
            program = load()
            self._resources.callback(program.close)
            self._pipeline = Pipeline(cuda, program, graphs=graphs)
            self._resources.callback(self._pipeline.close)
            self._pipeline.warm_up()
            program.warmed_up()
        _log.info("%s: CUDA graph %s", name, self.graph)

    @property
    def graph(self) -> str:
        """Describe how launches are made: 'replayed', or the reason why not."""
        return self._pipeline.graph

    @property
    def gpu_times(self) -> GpuTimes:
        """Return the times on the GPU of the last collected part."""
        return self._pipeline.gpu_times

    @property
    def pending(self) -> int:
        """Count the batches submitted and not yet collected."""
        return self._pipeline.pending

    def infer(self, batch: Image) -> Prediction:
        if self.pending:
            raise ValueError(f"{self.name}: collect the submitted batches before calling infer")
        self.submit(batch)
        return self.collect()

    def submit(self, batch: Image) -> None:
        """Start inference on uint8 (n, H, W, 3) images, n >= 1; the array may be reused at once."""
        check_batch(batch, self.manifest, self.name)
        with self._closing_on_failure():
            self._pipeline.submit(batch)

    def collect(self) -> Prediction:
        """Wait for the oldest submitted batch and return its prediction."""
        if not self.pending:
            raise ValueError(f"{self.name}: no batch was submitted")
        with self._closing_on_failure():
            return self._pipeline.collect()

    def close(self) -> None:
        cuda, self._cuda = self._cuda, None
        if cuda is None:
            return
        with contextlib.ExitStack() as stack:
            stack.callback(cuda.close)
            stack.enter_context(contextlib.suppress(CudaError))
            stack.enter_context(cuda.current())
            self._resources.close()

    @contextlib.contextmanager
    def _closing_on_failure(self) -> Iterator[None]:
        """Make the GPU current; close the engine on any failure, since its results are lost."""
        if self._cuda is None:
            raise EngineLost(f"{self.name} is closed. Open it again.")
        try:
            with self._cuda.current():
                yield
        except CudaError as error:
            self.close()
            raise EngineLost(_lost(self.name, str(error))) from error
        except BaseException:
            self.close()
            raise


def open_plan(path: Path, options: EngineOptions = DEFAULT_OPTIONS) -> TensorRTEngine:
    """Return the engine in a plan, warmed up on the first GPU.

    Raises IncompatibleError for a plan that does not fit, EngineLost when the GPU fails.
    """
    checked = check_plan(path, trust_host_code=options.trust_host_code)
    return TensorRTEngine(
        str(path),
        checked.manifest,
        PyCuda(),
        lambda: load_program(checked, options),
        graphs=options.cuda_graph,
    )


def _lost(name: str, reason: str) -> str:
    if is_out_of_memory(reason):
        fix = "Close other programs on the GPU, or build the plan for a smaller --batch."
    else:
        fix = "Open it again. If that fails too, restart the program, so that the driver recovers."
    return f"{name}: the GPU failed: {reason}. {fix}"
