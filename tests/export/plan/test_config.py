"""Options of TensorRT proper, which builds only on a GPU, with a fake builder."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.export.plan import build as build_module
from edge_ad.export.plan.build import build_plan, choose_runtime
from edge_ad.export.plan.config import TimingCache, batch_profile, configure
from edge_ad.export.plan.progress import BuildProgress
from edge_ad.plan_record import BuildOptions, BuildRecord, NoGpu, Runtime, TargetGpu
from tests.export.plan.fake_tensorrt import ORIN, Config, builder, source, tensorrt


def configured(options: BuildOptions, *, version: str = "10.3.0", cores: int = 0) -> Config:
    config = Config()
    trt = tensorrt(version)
    configure(trt, builder(config, cores), source(), "tensorrt", options)
    return config


def test_defaults_set_nothing() -> None:
    assert configured(BuildOptions()) == Config(profiling_verbosity="detailed", flags=[])


def test_tf32_is_off_unless_requested() -> None:
    assert configured(BuildOptions(tf32=True)).flags == ["tf32"]


def test_every_option_reaches_the_builder() -> None:
    options = BuildOptions(
        workspace_mib=512,
        optimization_level=5,
        version_compatible=True,
        hardware_compatible="ampere-plus",
        dla_core=1,
    )
    config = configured(options, cores=2)
    assert config.settings == {"workspace": 512 << 20}
    assert config.flags == ["portable", "fallback"]
    assert (config.builder_optimization_level, config.hardware_compatibility_level) == (5, 1)
    assert (config.default_device_type, config.DLA_core) == ("dla", 1)


def test_a_hardware_level_that_a_version_lacks_is_refused() -> None:
    options = BuildOptions(hardware_compatible="same-compute-capability")
    with pytest.raises(UsageError, match=r"10\.3\.0 cannot build for same-compute-capability"):
        configured(options)
    assert configured(options, version="10.16.1").hardware_compatibility_level == 2


@pytest.mark.parametrize(("core", "cores"), [(0, 0), (2, 2)])
def test_a_dla_core_that_is_not_there_is_refused(core: int, cores: int) -> None:
    with pytest.raises(UsageError, match=f"offers {cores} DLA cores"):
        configured(BuildOptions(dla_core=core), cores=cores)


def test_targets_are_for_rtx() -> None:
    with pytest.raises(UsageError, match="--compute-capability has no effect"):
        configured(BuildOptions(compute_capabilities=("8.9",)))


@dataclass
class RtxConfig(Config):
    """A configuration of TensorRT-RTX, which builds for GPUs by their number."""

    num_compute_capabilities: int = 0
    targets: dict[int, str] = field(default_factory=dict)

    def set_compute_capability(self, target: str, index: int) -> None:
        self.targets[index] = target


def test_target_gpus_reach_rtx_in_their_order() -> None:
    trt, config = tensorrt(), RtxConfig()
    trt.ComputeCapability = SimpleNamespace(SM86="of 8.6", SM120="of 12.0", NONE="none")
    options = BuildOptions(compute_capabilities=("12.0", "8.6"))
    configure(trt, builder(config), source(), "tensorrt-rtx", options)
    assert config.targets == {0: "of 12.0", 1: "of 8.6"} and config.num_compute_capabilities == 2
    other = BuildOptions(compute_capabilities=("9.0",))
    with pytest.raises(UsageError, match=r"9\.0: .* supports 8\.6, 12\.0"):
        configure(trt, builder(RtxConfig()), source(), "tensorrt-rtx", other)


@pytest.mark.parametrize(
    ("batch", "tiles", "given", "expected"),
    [
        (1, (1, 1), None, None),
        (4, (2, 2), (4, 4, 4), None),
        (None, (1, 1), None, (1, 1, 8)),
        (None, (2, 2), None, (1, 4, 8)),
        (None, (3, 4), None, (1, 12, 12)),
        (None, (3, 4), (2, 2, 2), (2, 2, 2)),
    ],
    ids=["one", "four", "open", "open, four tiles", "open, many tiles", "given"],
)
def test_the_usual_batch_is_a_frames_tiles(
    batch: int | None, tiles: tuple[int, int], given: Any, expected: Any
) -> None:
    assert batch_profile(source(batch, tiles), BuildOptions(batch=given)) == expected


def test_a_profile_names_the_input_and_its_three_shapes() -> None:
    config = Config()
    options = BuildOptions(batch=(1, 2, 4))
    configure(tensorrt(), builder(config), source(None), "tensorrt", options)
    shapes = [(count, 32, 48, 3) for count in (1, 2, 4)]
    assert config.settings["profile"] == ("image", *shapes)


def record(**changes: Any) -> BuildRecord:
    usual: dict[str, Any] = {"runtime": "tensorrt", "version": "10.3.0", "gpu": "RTX 4090"}
    usual |= {"compute_capability": "8.9", "onnx": "a", "onnx_sha256": "b", "plan_bytes": 1}
    return BuildRecord(**{**usual, **changes})


def test_timings_are_kept_for_the_next_build(tmp_path: Path) -> None:
    path = tmp_path / "timings"
    TimingCache(path, Config(), record()).save()
    assert path.read_bytes() == b"measured"
    TimingCache(path, Config(known=b"measured"), record())


def test_a_folder_keeps_one_file_a_version_and_gpu(tmp_path: Path) -> None:
    TimingCache(tmp_path, Config(), record()).save()
    TimingCache(tmp_path, Config(), record(version="10.7.0")).save()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tensorrt-10.3.0-rtx-4090-sm8.9.timingcache",
        "tensorrt-10.7.0-rtx-4090-sm8.9.timingcache",
    ]


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (
            b"of another GPU",
            r"another GPU or version, expected one of tensorrt-10\.3\.0-rtx-4090",
        ),
        (b"nonsense", "is not a timing cache"),
    ],
)
def test_a_foreign_timing_cache_is_refused(tmp_path: Path, content: bytes, pattern: str) -> None:
    path = tmp_path / "timings"
    path.write_bytes(content)
    with pytest.raises(IncompatibleError, match=pattern):
        TimingCache(path, Config(known=b"measured"), record())
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("usable", "gpu", "chosen"),
    [
        (["tensorrt"], NoGpu("none"), "tensorrt"),
        (["tensorrt-rtx"], ORIN, "tensorrt-rtx"),
        (["tensorrt", "tensorrt-rtx"], ORIN, "tensorrt"),
        (["tensorrt", "tensorrt-rtx"], NoGpu("none"), "tensorrt-rtx"),
    ],
    ids=["one", "the other", "both, a GPU", "both, no GPU"],
)
def test_the_runtime_is_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, usable: list[Runtime], gpu: TargetGpu | NoGpu, chosen: Runtime
) -> None:
    monkeypatch.setattr(build_module, "installed", lambda: dict.fromkeys(usable, "1.0"))
    monkeypatch.setattr(build_module, "gpu_here", lambda: gpu)
    assert choose_runtime() == chosen


def test_without_any_tensorrt_both_reasons_are_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: not found')")
    monkeypatch.syspath_prepend(tmp_path)
    both = r"(?s)libnvinfer\.so\.10.*pip install tensorrt-rtx"
    with pytest.raises(IncompatibleError, match=both):
        choose_runtime()


def test_tensorrt_without_a_gpu_is_refused_before_it_is_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build_module, "read_source", lambda path: source())
    monkeypatch.setattr(build_module, "load", lambda runtime: tensorrt())
    monkeypatch.setattr(build_module, "gpu_here", lambda: NoGpu("no driver"))
    with pytest.raises(IncompatibleError, match=r"no driver\. Build on that machine, or with"):
        build_plan(tmp_path / "part.onnx", tmp_path / "part.plan", runtime="tensorrt")


def test_nested_phases_make_one_share() -> None:
    progress = BuildProgress()
    progress.start("build", None, 4)
    assert progress.step("build", 0) == 0.25
    progress.start("tactics", "build", 2)
    progress.start("layer", "tactics", 10)
    assert progress.step("layer", 4) == 0.25 + 0.25 * 0.5 * 0.5
    progress.finish("layer")
    assert progress.step("tactics", 0) == 0.25 + 0.25 * 0.5
    progress.finish("tactics")
    assert progress.step("build", 3) == 1.0


def test_a_step_of_an_unknown_phase_is_no_progress() -> None:
    assert BuildProgress().step("unknown", 3) == 0.0
