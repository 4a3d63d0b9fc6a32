"""Measure edge-ad beside its neighbours: from image file to verdict, start, memory, install size.

    python benchmarks/bench_neighbours.py [--cores 1] [--rounds 7] [--work DIR]

Makes an environment for each tool under DIR (a network is needed the first time), DRAEM at 256x256
with the same seeded weights in every form, and images of the shipped footage. Then all tools run
in their processes and take turns, a few images each, when the threads of the one before rest;
ratios are taken round by round. Start and
memory are those of the processes. `--cores 1` bounds every tool to one core and compares processor
time, which a busy machine changes little; without it each tool uses what it chooses. Scores must
agree; those of int8 and bfloat16 may differ by as much as they say.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from commands import wait_for_rest
from neighbour_runner import SIDE  # the script's own folder is on the path
from results import write_result

from edge_ad.images import write_image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FOOTAGE = ROOT / "edge_ad" / "sample" / "footage.mp4"
DEFAULT_WORK = Path.home() / ".cache" / "edge-ad-neighbours"
TORCH = "torch==2.13.0"  # the Makefile's
ENVIRONMENTS = {
    "anomalib": ((TORCH, "torchvision"), ("anomalib[openvino]==2.7.0",)),
    "anomavision": ((TORCH, "torchvision"), ("anomavision==3.6.2",)),
    "edge-ad": ((f"{ROOT}[onnxruntime]",),),
}
WARM = 1
SAME = 1e-3  # of a score: float arithmetic in another order


@dataclass(frozen=True)
class Contender:
    """One tool on one file, in an environment (None: the one that runs this script)."""

    name: str
    kind: str
    model: str
    environment: str | None = None
    exact: bool = True

    @property
    def installed(self) -> str:
        """The environment whose size counts; bare sessions need less than edge-ad's."""
        return self.environment or "edge-ad"


CONTENDERS = (
    Contender("anomalib Torch", "anomalib Torch", "weights/torch/model.pt", "anomalib"),
    Contender("anomalib OpenVINO", "anomalib OpenVINO", "weights/openvino/model.xml", "anomalib",
              exact=False),
    Contender("AnomaVision ONNX", "AnomaVision ONNX", "plain/draem.onnx", "anomavision"),
    Contender("naive loop", "naive loop", "plain/draem.onnx"),
    Contender("bare ONNX Runtime fp32", "bare ONNX Runtime", "plain/draem.onnx"),
    Contender("bare OpenVINO default", "bare OpenVINO", "plain/draem.onnx", exact=False),
    Contender("bare OpenVINO fp32", "bare OpenVINO fp32", "plain/draem.onnx"),
    Contender("bare OpenVINO int8", "bare OpenVINO int8", "draem.int8.onnx", exact=False),
    Contender("edge-ad fp32", "edge-ad", "draem.onnx"),
    Contender("edge-ad int8", "edge-ad", "draem.int8.onnx", exact=False),
    Contender("edge-ad int8 OpenVINO", "edge-ad OpenVINO", "draem.int8.onnx", exact=False),
)  # fmt: skip


class Process:
    """A contender's process: started, warm, and waiting for files."""

    def __init__(self, contender: Contender, work: Path, cores: int, files: Sequence[Path]) -> None:
        self.contender, self._started = contender, time.perf_counter()
        python = _python(work, contender.environment)
        words = [str(python), str(HERE / "neighbour_runner.py"), contender.kind]
        words += [str(work / "models" / contender.model), "0.5"]
        bound = ["taskset", "-c", ",".join(map(str, range(cores)))] if cores else []
        self._process = subprocess.Popen(
            [*bound, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=work,
            env={**os.environ, "PYTHONPATH": str(ROOT) if contender.environment is None else ""},
        )
        self._read()  # ready
        self.judge(files)
        self.first_verdict_s = time.perf_counter() - self._started

    def judge(self, files: Sequence[Path]) -> dict[str, list[float]]:
        """Return milliseconds, processor milliseconds and scores of files."""
        assert self._process.stdin is not None
        print(json.dumps([str(file) for file in files]), file=self._process.stdin, flush=True)
        answer: dict[str, list[float]] = json.loads(self._read())
        wait_for_rest(self._process.pid)
        return answer

    def close(self) -> float:
        """End the process, and return its peak memory in MiB."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_maxrss / 1024

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.contender.name} ended: run it by hand to see why.")
        return line


def make_environments(work: Path) -> None:
    """Make what is missing of the environments; a finished one has a mark."""
    for name, steps in ENVIRONMENTS.items():
        folder = work / name
        if (folder / "ready").exists():
            continue
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        for packages in steps:
            pip = [str(_python(work, name)), "-m", "pip", "install", "--quiet", *packages]
            subprocess.run(pip, check=True)
        (folder / "ready").touch()


def make_models(work: Path) -> None:
    """Write the weights in every form, and edge-ad's fp32 and int8 files."""
    models = work / "models"
    models.mkdir(exist_ok=True)
    if not (models / "plain" / "draem.onnx").exists():
        script = [str(_python(work, "anomalib")), str(HERE / "neighbour_models.py"), str(models)]
        subprocess.run(script, check=True)
    fp32, int8 = models / "draem.onnx", models / "draem.int8.onnx"
    if not fp32.exists():
        _edge_ad("import", models / "draem.ckpt", "-o", models / "draem.pt", "--size", SIDE)
        _edge_ad("export", models / "draem.pt", "-o", fp32)
    if not int8.exists():
        _write_int8(fp32, int8, work / "images")


def make_images(work: Path, count: int = 16) -> list[Path]:
    """Write frames of the shipped footage as PNG files of the network's size."""
    folder = work / "images"
    folder.mkdir(parents=True, exist_ok=True)
    video = cv2.VideoCapture(str(FOOTAGE))
    for number in range(count):
        video.set(cv2.CAP_PROP_POS_FRAMES, 20 * number)
        _, frame = video.read()
        frame = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        write_image(folder / f"{number:02}.png", np.asarray(frame, np.uint8))
    return sorted(folder.glob("*.png"))


def take_turns(
    processes: Sequence[Process], files: Sequence[Path], rounds: int, images: int
) -> dict[str, dict[str, list[float]]]:
    """Return all times and scores by contender: each round, each judges the same `images`."""
    samples: dict[str, dict[str, list[float]]] = {
        one.contender.name: {"ms": [], "processor_ms": [], "scores": []} for one in processes
    }
    for process in processes:
        process.judge(files[:WARM])
    for number in range(rounds):
        chosen = [files[(number * images + index) % len(files)] for index in range(images)]
        for process in processes:
            for key, values in process.judge(chosen).items():
                samples[process.contender.name][key] += values
    return samples


def check_scores(samples: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """Return how far each contender's scores are from edge-ad's in fp32; exact ones must agree."""
    reference = samples["edge-ad fp32"]["scores"]
    apart = {
        name: max(abs(a - b) for a, b in zip(found["scores"], reference, strict=True))
        for name, found in samples.items()
    }
    for contender in CONTENDERS:
        if contender.exact and apart[contender.name] > SAME:
            raise SystemExit(
                f"{contender.name}: scores differ by {apart[contender.name]:.3g} from those of "
                "edge-ad in fp32. The weights or the images are not the same."
            )
    return apart


def install_mib(work: Path, environment: str) -> float:
    """Return the size of an environment's packages, without pip and setuptools."""
    (packages,) = (work / environment).glob("lib/python*/site-packages")
    tools = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
    kept = (entry for entry in packages.iterdir() if not entry.name.startswith(tools))
    files = (file for entry in kept for file in (entry, *entry.rglob("*")))
    return sum(file.lstat().st_size for file in files if file.is_file()) / 2**20


def summarize(
    samples: dict[str, dict[str, list[float]]], apart: dict[str, float], key: str
) -> dict[str, dict[str, Any]]:
    """Return the figures of each contender; edge-ad's int8 files as ratios, round by round."""
    ours = {
        "int8_times_faster": samples["edge-ad int8"][key],
        "int8_openvino_times_faster": samples["edge-ad int8 OpenVINO"][key],
    }
    return {
        name: {
            "ms": round(median(found["ms"])),
            "processor_ms": round(median(found["processor_ms"])),
            **{
                ratio: round(median(a / b for a, b in zip(found[key], times, strict=True)), 3)
                for ratio, times in ours.items()
            },
            "score_apart": float(f"{apart[name]:.2g}"),
        }
        for name, found in samples.items()
    }


def measure(
    work: Path, *, cores: int, rounds: int, images: int, starts: int
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, list[float]]]]:
    """Return figures and raw samples of all contenders.

    Each is started `starts` times, one after the other; those of the last time take the turns.
    """
    files = make_images(work)
    load = os.getloadavg()[0]
    processes: list[Process] = []
    seconds: dict[str, list[float]] = {one.name: [] for one in CONTENDERS}
    for _ in range(starts):
        for process in processes:
            process.close()
        processes = []
        for contender in CONTENDERS:
            processes.append(Process(contender, work, cores, files[:1]))
            seconds[contender.name].append(processes[-1].first_verdict_s)
    samples = take_turns(processes, files, rounds, images)
    peaks = {process.contender.name: process.close() for process in processes}
    figures = summarize(samples, check_scores(samples), "processor_ms" if cores == 1 else "ms")
    loads = (round(load, 2), round(os.getloadavg()[0], 2))
    for contender in CONTENDERS:
        name = contender.name
        figures[name] |= {
            "first_verdict_s": round(median(seconds[name]), 2),
            "peak_mib": round(peaks[name]),
            "install_mib": round(install_mib(work, contender.installed)),
            "load_before": loads[0],
            "load_after": loads[1],
        }
        samples[name]["first_verdict_s"] = seconds[name]
    return figures, samples


def versions(work: Path) -> dict[str, str]:
    """Return the versions of packages that matter, by environment."""
    names = ("anomalib", "anomavision", "torch", "onnxruntime", "openvino", "opencv-python",
             "opencv-python-headless")  # fmt: skip
    found = {}
    for environment in ENVIRONMENTS:
        for info in (work / environment).glob("lib/python*/site-packages/*.dist-info"):
            name, _, version = info.name.removesuffix(".dist-info").partition("-")
            if name.replace("_", "-") in names:
                found[f"{environment}: {name}"] = version
    return dict(sorted(found.items()))


def _edge_ad(*words: object) -> None:
    command = [sys.executable, "-m", "edge_ad", *map(str, words)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def _write_int8(fp32: Path, int8: Path, images: Path) -> None:
    """Quantize as `edge-ad calibrate` does; seeded weights have no accuracy to gate."""
    import onnx
    from int8_quantizers import by_edge_ad

    from edge_ad.calibration.ranges.image_set import choose
    from edge_ad.onnx_graph.index import load_graph

    chosen = choose(sorted(images.glob("*.png")), samples=16)
    onnx.save(by_edge_ad(load_graph(fp32), "onnxruntime", chosen), int8)


def _python(work: Path, environment: str | None) -> Path:
    return work / environment / "bin" / "python" if environment else Path(sys.executable)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK)
    parser.add_argument("--cores", type=int, default=0, help="0: every tool's own choice.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=3, help="A turn.")
    parser.add_argument("--starts", type=int, default=3, help="Of each tool.")
    parser.add_argument("--prepare", action="store_true", help="Make everything, measure nothing.")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    make_environments(work)
    make_images(work)
    make_models(work)
    if options.prepare:
        return
    how = {key: getattr(options, key) for key in ("cores", "rounds", "images", "starts")}
    figures, samples = measure(work, **how)
    settings = {**how, "size_hw": [SIDE, SIDE], "versions": versions(work)}
    bench = "neighbours_core" if options.cores == 1 else "neighbours"
    for name, metrics in figures.items():
        print(name, metrics)
        write_result(bench, name, "all", metrics=metrics, samples=samples[name], settings=settings)


if __name__ == "__main__":
    main()
