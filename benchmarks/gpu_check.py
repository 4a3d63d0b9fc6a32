"""All that a machine with a card should prove, in one run: tests, parity, speed, a result file.

    python benchmarks/gpu_check.py                        DeSTSeg at 256x256, fp32 and fp16
    python benchmarks/gpu_check.py --engine part.onnx     that engine; repeats

Needs TensorRT or TensorRT-RTX, PyCUDA, ONNX Runtime and pytest; torch, to be compared with on the
same card. DeSTSeg is exported where there is onnxscript; a card without it gets the files of

    python benchmarks/gpu_check.py --folder DIR --only-make     on any machine, and there
    python benchmarks/gpu_check.py --folder DIR

A checkout that is not installed is run with PYTHONPATH=. in front. Ends with 4 when a promise is
not kept.
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
LOOP_RATIO, BEYOND_GPU_P99_MS = 0.95, 0.5  # promises
TESTS_S = 420


@dataclass
class Subject:
    """An engine file to build and measure, and its torch twin where there is one."""

    onnx: Path
    model: str
    network: Any = None


@dataclass
class Verdict:
    """Promises that were not kept."""

    broken: list[str] = field(default_factory=list)

    def hold(self, name: str, *, kept: bool) -> None:
        print(f"  {'kept  ' if kept else 'BROKEN'} {name}")
        if not kept:
            self.broken.append(name)


def main() -> None:
    options = _options()
    with _folder(options.folder) as folder:
        if options.only_make:
            print("\n".join(str(subject.onnx) for subject in destseg(folder)))
        else:
            check_card(options, folder)


def check_card(options: argparse.Namespace, folder: Path) -> None:
    """Everything a card should prove; engines and plans are kept in `folder`."""
    if isinstance(gpu := gpu_here(), NoGpu):
        raise IncompatibleError(f"nothing to check here: {gpu.reason}.")
    facts = gpu_facts.card_facts()
    print(facts)
    verdict = Verdict()
    tests = {} if options.skip_tests else run_tests(verdict)
    runtime = options.runtime or choose_runtime()
    subjects = [Subject(path, path.stem) for path in options.engine] or destseg(folder)
    for subject in subjects:
        check(subject, runtime, folder, {"facts": facts, "tests": tests}, options, verdict)
    if verdict.broken:
        raise GateFailed(f"not kept: {'; '.join(verdict.broken)}.")


def run_tests(verdict: Verdict) -> dict[str, Any]:
    """Everything marked `gpu`. Skipped tests count as not kept: they should have run here.

    The project's strictness is left out: other versions of torch and pytest warn of other things.
    """
    print("tests")
    words = ["-m", "pytest", "-q", "-m", "gpu", "-rs", "tests/gpu"]
    words += ["-o", "addopts=", "-o", "filterwarnings=default"]
    try:
        ended = subprocess.run(
            [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=TESTS_S
        )
    except subprocess.TimeoutExpired:
        verdict.hold(f"tests on the card within {TESTS_S} s", kept=False)
        return {"exit": None, "summary": f"not done within {TESTS_S} s"}
    lines = ended.stdout.strip().splitlines()
    print("\n".join(lines[-60:]))
    summary = lines[-1] if lines else ended.stderr[-300:]
    verdict.hold("tests on the card", kept=ended.returncode == 0 and " passed" in summary)
    return {"exit": ended.returncode, "summary": summary}


def check(
    subject: Subject,
    runtime: Runtime,
    folder: Path,
    settings: dict[str, Any],
    options: argparse.Namespace,
    verdict: Verdict,
) -> None:
    """Build, compare, measure, write the result file."""
    plan = folder / f"{subject.onnx.stem}.plan"
    built = build_plan(subject.onnx, plan, runtime=runtime)
    manifest, build = built.sidecar.manifest, built.sidecar.build
    assert manifest is not None and build is not None
    name = f"{subject.model} {manifest.precision}"
    print(f"{name}: {NAMES[runtime]} {build.version} in {built.seconds:.1f} s")
    parity = gpu_measure.parity(plan, subject.onnx)
    verdict.hold(f"{name}: parity with ONNX Runtime", kept=parity["within"])
    before = gpu_facts.clocks()
    figures, samples = gpu_measure.measure_plan(plan, options.calls)
    loop = gpu_measure.measure_loop(plan, footage(folder))
    torch = _torch(subject, manifest, options.calls)
    _judge(name, figures["replayed"], loop, verdict)
    path = write_result(
        runtime,
        subject.model,
        manifest.precision,
        device=settings["facts"]["card"],
        settings={**settings, "build": build.model_dump(mode="json"), "calls": options.calls,
                  "warm_up": gpu_measure.WARM_UP, "clocks_before": before,
                  "clocks_after": gpu_facts.clocks()},
        metrics={"build_s": round(built.seconds, 2), "parity": parity,
                 **_flat(figures["replayed"]), **loop, "launched": figures["launched"],
                 "replayed": figures["replayed"], "torch": torch},
        samples=samples,
    )  # fmt: skip
    print(f"  {path}")


def destseg(folder: Path) -> list[Subject]:
    """DeSTSeg with fresh weights: what it finds is nonsense, what it costs is not."""
    files = {name: folder / f"destseg_256_{name}.onnx" for name in ("fp32", "fp16")}
    network = fresh_network()
    if not all(path.is_file() for path in files.values()):
        export_fresh(network, files)
    return [Subject(path, "destseg_256", network) for path in files.values()]


def fresh_network() -> Any:
    """Full-size DeSTSeg for 256x256 with seeded weights; None where there is no torch."""
    try:
        import torch
    except ImportError:
        return None
    from edge_ad.methods.destseg.network import DeSTSeg, DeSTSegConfig
    from edge_ad.methods.engine_graph import EngineGraph

    torch.manual_seed(0)
    return EngineGraph(DeSTSeg(DeSTSegConfig(top_k=100), SIZE_HW).eval())


def export_fresh(network: Any, files: dict[str, Path]) -> None:
    """Write the fp32 and the fp16 graph. Raises MissingExtra where the packages for it lack."""
    try:
        import onnx

        from edge_ad.export.comparison_frames import generated
        from edge_ad.export.fp16.convert import mixed_from_fp32
        from edge_ad.export.onnx import onnx_from_module
        from edge_ad.onnx_graph.load import set_manifest

        manifest = Manifest(method="destseg", size_hw=SIZE_HW, score=Score(top_k=100))
        fp32 = onnx_from_module(network, manifest)
    except ImportError as error:
        raise MissingExtra("exporting DeSTSeg", str(error.name), "export") from error
    fp16 = mixed_from_fp32(fp32, generated(SIZE_HW, 8), manifest).model
    set_manifest(fp16, manifest.model_copy(update={"precision": "fp16"}))
    onnx.save(fp32, files["fp32"])
    onnx.save(fp16, files["fp16"])


def footage(folder: Path) -> Path:
    """The sample's, or images made here."""
    if FOOTAGE.is_file():
        return FOOTAGE
    images = folder / "images"
    if not images.is_dir():
        images.mkdir()
        gpu_measure.write_images(images)
    return images


def _torch(subject: Subject, manifest: Manifest, count: int) -> dict[str, Any]:
    """torch in fp16 on the same card; empty where torch has none."""
    if subject.network is None or manifest.precision != "fp16":
        return {}
    import torch

    if not torch.cuda.is_available():
        return {}
    images = gpu_measure.images_of(manifest)
    return gpu_measure.measure_torch(subject.network, images, count)


def _judge(name: str, figures: dict[str, Any], loop: dict[str, Any], verdict: Verdict) -> None:
    beyond, ratio = figures["beyond_gpu_p99_ms"], loop["loop_ratio"]
    verdict.hold(
        f"{name}: {beyond:.3f} ms beyond the card's time at p99, at most {BEYOND_GPU_P99_MS}",
        kept=beyond <= BEYOND_GPU_P99_MS,
    )
    verdict.hold(
        f"{name}: loop at {ratio:.3f} of the engine, at least {LOOP_RATIO}",
        kept=ratio >= LOOP_RATIO,
    )


def _flat(figures: dict[str, Any]) -> dict[str, float]:
    """The figures a table shows."""
    wanted = ("call_p50_ms", "call_p99_ms", "gpu_p50_ms", "beyond_gpu_p99_ms", "overlapped_fps")
    return {name: figures[name] for name in wanted}


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """The folder asked for, or one that is gone afterwards."""
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
