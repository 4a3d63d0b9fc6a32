"""Choose what `make demo` runs: the shipped ONNX file, or on a GPU a plan built from it here.

    python -m edge_ad.sample.demo demo/engine.plan

prints the engine to run on stdout, and what it is and why on stderr.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from edge_ad.errors import EdgeAdError
from edge_ad.machine.gpu import Gpus, read_gpus

ENGINE = Path(__file__).with_name("engine.onnx")
Build = Callable[[Path, Path], object]


def choose_engine(
    plan: Path, say: Callable[[str], object], gpus: Gpus | None = None, build: Build | None = None
) -> Path:
    """Return the engine to run, after building `plan` where there is an NVIDIA GPU.

    Where that fails, the ONNX file runs on the CPU, and `say` gets the reason.
    """
    gpus = gpus if gpus is not None else read_gpus()
    if not gpus.devices:
        say(f"No NVIDIA GPU ({gpus.problem or 'none is listed'}): the sample runs on the CPU.")
        return ENGINE
    gpu = gpus.devices[0]
    say(f"{gpu.name}, compute capability {gpu.compute_capability}: building the sample's plan.")
    began = time.monotonic()
    try:
        (build or build_and_open)(ENGINE, plan)
    except EdgeAdError as error:
        say(f"It cannot be built or run: {error} The sample runs on the CPU instead.")
        return ENGINE
    say(f"Built {plan} in {time.monotonic() - began:.0f} s; the sample runs on the GPU with it.")
    return plan


def build_and_open(engine: Path, plan: Path) -> None:
    """Build a plan with the engine's threshold, and run it once.

    Raises IncompatibleError and MissingExtra where TensorRT, PyCUDA or the GPU do not work.
    """
    from edge_ad.engine import open_engine
    from edge_ad.export.plan.build import build_plan

    plan.parent.mkdir(parents=True, exist_ok=True)
    build_plan(engine, plan)
    open_engine(plan).close()


if __name__ == "__main__":
    print(choose_engine(Path(sys.argv[1]), lambda text: print(text, file=sys.stderr)))
