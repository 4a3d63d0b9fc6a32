"""Check a machine with a GPU in one run: tests, parity, speed, and a result file.

    python benchmarks/gpu_check.py                        DeSTSeg at 256x256, fp32 and fp16
    python benchmarks/gpu_check.py --engine part.onnx     that engine; repeats

Needs TensorRT or TensorRT-RTX, PyCUDA, ONNX Runtime and pytest, and torch for the comparison with
it. DeSTSeg is exported with onnxscript; for a machine without it, make the files elsewhere with

    python benchmarks/gpu_check.py --folder DIR --only-make     on any machine, and then run
    python benchmarks/gpu_check.py --folder DIR

A checkout that is not installed is run with PYTHONPATH=. in front. Ends with exit code 4
when a limit is not met.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gpu_facts  # the script's own folder is on the path
import gpu_measure
from results import write_result

from edge_ad.engine.tensorrt.preflight import gpu_here
from edge_ad.errors import EdgeAdError, GateFailed, IncompatibleError, MissingExtra
from edge_ad.export.plan.build import build_plan, choose_runtime
from edge_ad.manifest import Manifest, Score
from edge_ad.plan_record import NAMES, NoGpu, Runtime

SIZE_HW = (256, 256)
ROOT = Path(__file__).resolve().parent.parent
FOOTAGE = ROOT / "edge_ad" / "sample" / "footage.mp4"
LOOP_RATIO, BEYOND_GPU_P99_MS = 0.95, 0.5  # limits
TESTS_S = 420


@dataclass
class CheckedEngine:
    """An engine file to build and measure, and its torch network if there is one."""

    onnx: Path
    model: str
    network: Any = None


@dataclass
class LimitLog:
    """Prints checked limits and collects those not met."""

    failed: list[str] = field(default_factory=list)

    def record(self, name: str, *, met: bool) -> None:
        """Print one limit, and keep it if it is not met."""
        print(f"  {'met   ' if met else 'FAILED'} {name}")
        if not met:
            self.failed.append(name)


def main() -> None:
    options = _options()
    with _folder(options.folder) as folder:
        if options.only_make:
            print("\n".join(str(engine.onnx) for engine in destseg_engines(folder)))
        else:
            check_gpu(options, folder)


def check_gpu(options: argparse.Namespace, folder: Path) -> None:
    """Run all checks; engines and plans are kept in `folder`."""
    if isinstance(gpu := gpu_here(), NoGpu):
        raise IncompatibleError(f"nothing to check here: {gpu.reason}.")
    facts = gpu_facts.read_facts()
    print(facts)
    limits = LimitLog()
    tests = {} if options.skip_tests else run_tests(limits)
    runtime = options.runtime or choose_runtime()
    engines = [CheckedEngine(path, path.stem) for path in options.engine] or destseg_engines(folder)
    for engine in engines:
        check(engine, runtime, folder, {"facts": facts, "tests": tests}, options, limits)
    if limits.failed:
        raise GateFailed(f"limits not met: {'; '.join(limits.failed)}.")


def run_tests(limits: LimitLog) -> dict[str, Any]:
    """Run the tests marked `gpu`. Skipped tests count as failed: they should have run here.

    Warnings are no errors here: other versions of torch and pytest give other warnings.
    """
    print("tests")
    arguments = ["-m", "pytest", "-q", "-m", "gpu", "-rs", "tests/gpu"]
    arguments += ["-o", "addopts=", "-o", "filterwarnings=default"]
    try:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=TESTS_S
        )
    except subprocess.TimeoutExpired:
        limits.record(f"tests on the GPU within {TESTS_S} s", met=False)
        return {"exit": None, "summary": f"not done within {TESTS_S} s"}
    lines = done.stdout.strip().splitlines()
    print("\n".join(lines[-60:]))
    summary = lines[-1] if lines else done.stderr[-300:]
    limits.record("tests on the GPU", met=done.returncode == 0 and " passed" in summary)
    return {"exit": done.returncode, "summary": summary}


def check(
    engine: CheckedEngine,
    runtime: Runtime,
    folder: Path,
    settings: dict[str, Any],
    options: argparse.Namespace,
    limits: LimitLog,
) -> None:
    """Build a plan, check parity, measure it, and write the result file."""
    plan = folder / f"{engine.onnx.stem}.plan"
    built = build_plan(engine.onnx, plan, runtime=runtime)
    manifest, build = built.sidecar.manifest, built.sidecar.build
    assert manifest is not None and build is not None
    name = f"{engine.model} {manifest.precision}"
    print(f"{name}: {NAMES[runtime]} {build.version} in {built.seconds:.1f} s")
    parity = gpu_measure.parity(plan, engine.onnx)
    limits.record(f"{name}: parity with ONNX Runtime", met=parity["within"])
    before = gpu_facts.read_clocks()
    figures, samples = gpu_measure.measure_plan(plan, options.calls)
    loop = gpu_measure.measure_loop(plan, footage(folder))
    torch = _measure_torch(engine, manifest, options.calls)
    _check_limits(name, figures["replayed"], loop, limits)
    path = write_result(
        runtime,
        engine.model,
        manifest.precision,
        device=settings["facts"]["gpu"],
        settings={**settings, "build": build.to_dict(), "calls": options.calls,
                  "warm_up": gpu_measure.WARM_UP, "clocks_before": before,
                  "clocks_after": gpu_facts.read_clocks()},
        metrics={"build_s": round(built.seconds, 2), "parity": parity,
                 **_flat(figures["replayed"]), **loop, "launched": figures["launched"],
                 "replayed": figures["replayed"], "torch": torch},
        samples=samples,
    )  # fmt: skip
    print(f"  {path}")


def destseg_engines(folder: Path) -> list[CheckedEngine]:
    """Return DeSTSeg with random weights: its results are meaningless, its speed is not."""
    files = {name: folder / f"destseg_256_{name}.onnx" for name in ("fp32", "fp16")}
    network = fresh_network()
    if not all(path.is_file() for path in files.values()):
        export_fresh(network, files)
    return [CheckedEngine(path, "destseg_256", network) for path in files.values()]


def fresh_network() -> Any:
    """Return full-size DeSTSeg for 256x256 with seeded weights; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    from edge_ad.methods.destseg.network import DeSTSeg, DeSTSegConfig
    from edge_ad.methods.engine_graph import EngineGraph

    torch.manual_seed(0)
    return EngineGraph(DeSTSeg(DeSTSegConfig(top_k=100), SIZE_HW).eval())


def export_fresh(network: Any, files: dict[str, Path]) -> None:
    """Write the fp32 and the fp16 graph. Raises MissingExtra without onnxscript or torch."""
    try:
        import onnx

        from edge_ad.export.comparison_frames import generated_frames
        from edge_ad.export.fp16.convert import mixed_from_fp32
        from edge_ad.export.onnx import onnx_from_module
        from edge_ad.onnx_graph.load import set_manifest

        manifest = Manifest(method="destseg", size_hw=SIZE_HW, score=Score(top_k=100))
        fp32 = onnx_from_module(network, manifest)
    except ImportError as error:
        raise MissingExtra("exporting DeSTSeg", str(error.name), "export") from error
    fp16 = mixed_from_fp32(fp32, generated_frames(SIZE_HW, 8), manifest).model
    set_manifest(fp16, manifest.replace(precision="fp16"))
    onnx.save(fp32, files["fp32"])
    onnx.save(fp16, files["fp16"])


def footage(folder: Path) -> Path:
    """Return the shipped footage, or a folder of generated images without it."""
    if FOOTAGE.is_file():
        return FOOTAGE
    images = folder / "images"
    if not images.is_dir():
        images.mkdir()
        gpu_measure.write_images(images)
    return images


def _measure_torch(engine: CheckedEngine, manifest: Manifest, count: int) -> dict[str, Any]:
    """Measure torch in fp16 on the same GPU; empty if torch has none."""
    if engine.network is None or manifest.precision != "fp16":
        return {}
    import torch

    if not torch.cuda.is_available():
        return {}
    images = gpu_measure.images_of(manifest)
    return gpu_measure.measure_torch(engine.network, images, count)


def _check_limits(
    name: str, figures: dict[str, Any], loop: dict[str, Any], limits: LimitLog
) -> None:
    beyond, ratio = figures["beyond_gpu_p99_ms"], loop["loop_ratio"]
    limits.record(
        f"{name}: {beyond:.3f} ms beyond the GPU's time at p99, at most {BEYOND_GPU_P99_MS}",
        met=beyond <= BEYOND_GPU_P99_MS,
    )
    limits.record(
        f"{name}: loop at {ratio:.3f} of the engine, at least {LOOP_RATIO}",
        met=ratio >= LOOP_RATIO,
    )


def _flat(figures: dict[str, Any]) -> dict[str, float]:
    """Return the figures that a table shows."""
    names = ("call_p50_ms", "call_p99_ms", "gpu_p50_ms", "beyond_gpu_p99_ms", "overlapped_fps")
    return {name: figures[name] for name in names}


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """Yield the given folder, or a temporary one."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", type=Path, action="append", default=[])
    parser.add_argument("--folder", type=Path, help="keep engines and plans here")
    parser.add_argument("--only-make", action="store_true", help="make DeSTSeg's files and stop")
    parser.add_argument("--runtime", choices=list(NAMES))
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--skip-tests", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except EdgeAdError as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
