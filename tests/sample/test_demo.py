"""What `make demo` runs, on machines with and without a GPU."""

from __future__ import annotations

from pathlib import Path

from edge_ad.errors import IncompatibleError
from edge_ad.machine.gpu import GpuDevice, Gpus
from edge_ad.sample.demo import ENGINE, choose_engine

ORIN = Gpus((GpuDevice("Orin", "8.7", 7620),), "540.4.0", "12.6")


def test_without_a_gpu_the_onnx_file_runs(tmp_path: Path) -> None:
    said: list[str] = []
    engine = choose_engine(tmp_path / "x.plan", said.append, Gpus(problem="no NVIDIA driver"))
    assert engine == ENGINE and engine.is_file()
    assert said == ["No NVIDIA GPU (no NVIDIA driver): the sample runs on the CPU."]


def test_with_a_gpu_its_plan_is_built_and_named(tmp_path: Path) -> None:
    said: list[str] = []
    built: list[tuple[Path, Path]] = []
    engine = choose_engine(
        tmp_path / "x.plan", said.append, ORIN, lambda *files: built.append(files)
    )
    assert engine == tmp_path / "x.plan" and built == [(ENGINE, tmp_path / "x.plan")]
    assert "Orin, compute capability 8.7" in said[0] and "runs on the GPU" in said[1]


def test_a_plan_that_cannot_be_built_is_no_end(tmp_path: Path) -> None:
    def failing(engine: Path, plan: Path) -> None:
        raise IncompatibleError("TensorRT refuses it.")

    said: list[str] = []
    assert choose_engine(tmp_path / "x.plan", said.append, ORIN, failing) == ENGINE
    assert "TensorRT refuses it. The sample runs on the CPU instead." in said[1]
