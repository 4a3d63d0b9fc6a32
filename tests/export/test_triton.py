"""`edge-ad export-triton`: model repositories that NVIDIA's schema accepts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tritonclient", reason="needs edge-ad[triton]")

from edge_ad.export.triton import load_schema, parse_config
from edge_ad.files import sha256
from edge_ad.manifest import Manifest, Sidecar, Threshold
from edge_ad.plan_record import BuildRecord
from edge_ad.preprocess import Preprocess
from edge_ad.sidecar import save_sidecar
from tests.conftest import CompletedProcess, invoke, part_image

MakePath = Callable[..., Path]


def export(repository: Path, *more: object) -> CompletedProcess:
    return invoke("export-triton", *more, "--repository", repository)


def config_of(model: Path) -> Any:
    return parse_config(model / "config.pbtxt", load_schema())


def test_a_graph_of_any_number_has_its_batching_written_out(
    make_engine: MakePath, tmp_path: Path
) -> None:
    done = export(tmp_path / "models", make_engine(batch=None), "--max-batch", 16,
                  "--queue-delay-us", 500, "--name", "part", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    config = config_of(tmp_path / "models" / "part")
    assert config.name == "part" and config.backend == "onnxruntime"
    assert config.max_batch_size == 16
    assert list(config.dynamic_batching.preferred_batch_size) == [16]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert list(config.input[0].dims) == [32, 32, 3], "the batch dimension is implicit"
    assert [list(output.dims) for output in config.output] == [[32, 32], [1]]
    assert list(config.output[1].reshape.shape) == []
    assert config.output[1].HasField("reshape")
    assert (tmp_path / "models" / "part" / "1" / "model.onnx").is_file()
    assert json.loads(done.stdout)["files"] == ["1/model.onnx", "config.pbtxt"]


def test_a_graph_of_a_fixed_number_has_exact_dims(make_engine: MakePath, tmp_path: Path) -> None:
    assert export(tmp_path, make_engine(batch=3)).returncode == 0
    config = config_of(tmp_path / "green")
    assert config.max_batch_size == 0 and not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [3, 32, 32, 3]
    assert [list(output.dims) for output in config.output] == [[3, 32, 32], [3]]


def test_a_real_image_warms_the_model_up(make_engine: MakePath, tmp_path: Path) -> None:
    image = part_image(hw=(60, 80))
    assert cv2.imwrite(str(tmp_path / "part.png"), image)
    engine = make_engine(batch=3)
    done = export(tmp_path / "models", engine, "--image", tmp_path / "part.png", "--json")
    assert json.loads(done.stdout)["files"] == ["1/model.onnx", "config.pbtxt", "warmup/part"]
    model = tmp_path / "models" / "green"
    (warm_up,) = config_of(model).model_warmup
    tensor = warm_up.inputs["image"]
    assert list(tensor.dims) == [3, 32, 32, 3] and warm_up.batch_size == 1 and warm_up.count == 3
    data = np.frombuffer((model / "warmup" / tensor.input_data_file).read_bytes(), np.uint8)
    expected = Preprocess((32, 32))(image)
    assert np.array_equal(data.reshape(3, 32, 32, 3), np.repeat(expected, 3, axis=0))


def test_threshold_and_manifest_travel_with_the_model(
    make_engine: MakePath, tmp_path: Path
) -> None:
    engine = make_engine(threshold=0.625)
    done = export(tmp_path, engine)
    assert done.returncode == 0 and "triton://HOST:8000/green" in done.stdout
    parameters = config_of(tmp_path / "green").parameters
    sidecar = Sidecar.from_json(parameters["edge_ad.sidecar"].string_value)
    assert sidecar.threshold is not None and sidecar.threshold.image == 0.625
    assert sidecar.engine_sha256 == sha256(engine)
    assert Manifest.from_json(parameters["edge_ad.manifest"].string_value).batch == 1


def make_plan(folder: Path, name: str, capability: str, graph: str = "a" * 64) -> Path:
    plan = folder / name
    plan.write_bytes(f"plan for {capability}".encode())
    build = BuildRecord(runtime="tensorrt", version="10.3.0", onnx="green.onnx", onnx_sha256=graph,
                        plan_bytes=plan.stat().st_size, compute_capability=capability)  # fmt: skip
    threshold = Threshold(image=1.0, pixel=1.0, false_alarm_rate=0.01, confidence=0.95, images=9)
    manifest = Manifest(method="green", precision="fp16", size_hw=(32, 32))
    sidecar = Sidecar(engine_sha256=sha256(plan), threshold=threshold, manifest=manifest,
                      build=build)  # fmt: skip
    save_sidecar(plan, sidecar)
    return plan


def test_plans_for_several_gpus_are_one_model(tmp_path: Path) -> None:
    plans = [make_plan(tmp_path, f"{name}.plan", name) for name in ("8.7", "8.9")]
    done = export(tmp_path / "models", *plans, "--name", "part")
    assert done.returncode == 0, done.stderr
    config = config_of(tmp_path / "models" / "part")
    assert config.backend == "tensorrt"
    assert dict(config.cc_model_filenames) == {"8.7": "model-8.7.plan", "8.9": "model-8.9.plan"}
    kinds = load_schema().ModelInstanceGroup
    assert config.instance_group[0].kind == kinds.KIND_GPU
    for plan in plans:
        copied = tmp_path / "models" / "part" / "1" / f"model-{plan.stem}.plan"
        assert copied.read_bytes() == plan.read_bytes()


@pytest.mark.parametrize(
    ("capabilities", "graphs", "message"),
    [
        (("8.9", "8.9"), ("a", "a"), "same compute capability"),
        (("8.7", "8.9"), ("a", "b"), "different graphs"),
    ],
)
def test_plans_that_do_not_belong_together_are_refused(
    tmp_path: Path, capabilities: tuple[str, ...], graphs: tuple[str, ...], message: str
) -> None:
    plans = [
        make_plan(tmp_path, f"{index}.plan", capability, graph * 64)
        for index, (capability, graph) in enumerate(zip(capabilities, graphs, strict=True))
    ]
    done = export(tmp_path / "models", *plans)
    assert done.returncode == 2 and message in done.stderr
    assert not (tmp_path / "models" / "0").exists()


def test_a_folder_of_other_files_is_never_replaced(make_engine: MakePath, tmp_path: Path) -> None:
    (tmp_path / "green").mkdir()
    (tmp_path / "green" / "part.png").write_bytes(b"theirs")
    done = export(tmp_path, make_engine(), "--overwrite")
    assert done.returncode == 2 and "not a model's folder" in done.stderr
    assert (tmp_path / "green" / "part.png").read_bytes() == b"theirs"


def test_a_model_is_replaced_only_when_asked_and_as_a_whole(
    make_engine: MakePath, tmp_path: Path
) -> None:
    assert export(tmp_path, make_engine(threshold=0.5)).returncode == 0
    done = export(tmp_path, make_engine(threshold=0.7))
    assert done.returncode == 2 and "--overwrite" in done.stderr
    assert "0.5" in (tmp_path / "green" / "config.pbtxt").read_text()
    assert export(tmp_path, make_engine(threshold=0.7), "--overwrite").returncode == 0
    assert "0.7" in (tmp_path / "green" / "config.pbtxt").read_text()
    (tmp_path / "no.onnx").write_bytes(b"not ONNX")
    done = export(tmp_path, tmp_path / "no.onnx", "--name", "green", "--overwrite")
    assert done.returncode == 3 and "0.7" in (tmp_path / "green" / "config.pbtxt").read_text()
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_model_that_cannot_be_replaced_stays(
    make_engine: MakePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export(tmp_path, make_engine(threshold=0.5)).returncode == 0
    rename = Path.rename

    def refusing(path: Path, target: Path) -> Path:
        if path.name == ".green.part":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refusing)
    done = export(tmp_path, make_engine(threshold=0.7), "--overwrite")
    assert done.returncode != 0 and "No space left" in done.stderr
    assert "0.5" in (tmp_path / "green" / "config.pbtxt").read_text()
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_name_that_leads_elsewhere_is_refused(make_engine: MakePath, tmp_path: Path) -> None:
    done = export(tmp_path / "models", make_engine(), "--name", "../other")
    assert done.returncode == 2 and not (tmp_path / "other").exists()
