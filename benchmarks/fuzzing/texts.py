"""Mutated sidecars, range tables, calibration caches and configuration files."""

from __future__ import annotations

import functools
import math
import shutil
from pathlib import Path
from typing import Any

import yaml

from edge_ad.calibration.ranges.table import load_table
from edge_ad.calibration.ranges.trt_cache import load_cache
from edge_ad.files import sha256
from edge_ad.sidecar import load_sidecar, sidecar_path
from fuzzing.models import ENGINE, with_name
from fuzzing.mutations import Rng, mutate_text, mutate_value, pick
from fuzzing.verbs import verb

_THRESHOLD: dict[str, Any] = {
    "image": 0.5, "pixel": 0.4, "false_alarm_rate": 0.01, "confidence": 0.95, "images": 300,
    "by": "part", "parts": 280, "set_aside": 3, "frames_per_part": 4, "data_sha256": "ab",
    "drift": {"order": "names", "p": 0.5, "level": 0.01, "accepted": False},
    "escapes": {"count": 1, "images": 9, "low": 0.01, "high": 0.4, "kind": "synthetic"},
    "geometry": {"roi_xywh": [1, 2, 20, 20], "ignore": [[[1, 1], [5, 1], [5, 5]]],
                 "tiles": [2, 2], "overlap": 0.25},
}  # fmt: skip
_MODEL = {"method": "green", "size_hw": [16, 16], "sha256": "0" * 64}
_AMAX = {"minmax": 1.5, "percentile": 1.25, "entropy": 1.0}
_TABLE: dict[str, Any] = {
    "schema_version": 1, "target": "onnxruntime", "model": _MODEL,
    "sets": [{"sha256": "1" * 64, "images": 20, "synthetic_anomalies": 4, "seed": 0}],
    "images": 20, "all_zero": ["zeros"],
    "tensors": {"a": {"low": -1.5, "high": 1.0, "amax": _AMAX},
                "b": {"low": 0.0, "high": 6.0, "amax": _AMAX}},
}  # fmt: skip
_CACHE = "TRT-100300-EntropyCalibration2\nimage: 3c010a14\nmap: 3f800000\nscore: 40000000\n"
_CONFIGS = {
    "run": "camera: [parts, 'pattern://?size=64x64']\nengine: part.onnx\nroi: [1, 2, 30, 40]\n"
    "tiles: 2x2\nthreshold: 0.5\nalarm_k: 2\nhysteresis: 0.1\nquiet: true\nframes: 10\n"
    "ignore:\n  - [[1, 1], [5, 1], [5, 5]]\nduration_s: 1.5\ncuda_graph: false\n",
    "train": "data: parts\nmethod: draem\npreset: edge\nseed: 3\nepochs: 2\nsize: 64x64\n",
    "threshold": "images: parts\nfalse_alarm_rate: 0.01\nconfidence: 0.95\nroi: [0, 0, 8, 8]\n",
    "calibrate": "target: tensorrt\nsamples: 64\nexclude: [Conv, '.*head.*']\nmargin: 0.05\n",
}
_ARGUMENTS = {"threshold": ("part.onnx",), "calibrate": ("part.onnx",)}


def sidecars(rng: Rng, folder: Path) -> bool:
    """Read a mutated sidecar; what is accepted has finite thresholds and a whole description."""
    engine = folder / "part.onnx"
    shutil.copy(ENGINE, engine)
    content = {"schema_version": 1, "engine_sha256": _engine_sha(), "threshold": _THRESHOLD}
    sidecar_path(engine).write_bytes(_mutated(content, rng))
    done = verb("inspect", engine, "--json")
    assert done.code == 0, f"an engine is described, regardless of files beside it: {done.err}"
    sidecar = with_name(engine, lambda: load_sidecar(engine))
    assert sidecar is not None
    if sidecar.threshold is not None:
        assert math.isfinite(sidecar.threshold.image) and math.isfinite(sidecar.threshold.pixel)
    return True


def range_tables(rng: Rng, folder: Path) -> bool:
    """Read a mutated range table or TensorRT cache; accepted ranges are finite and not empty."""
    path = folder / "ranges"
    if rng.random() < 0.25:
        path.write_bytes(mutate_text(_CACHE, rng))
        scales = with_name(path, lambda: load_cache(path))
        assert all(0 < amax < math.inf for amax in scales.values())
        return True
    path.write_bytes(_mutated(_TABLE, rng))
    table = with_name(path, lambda: load_table(path))
    for name, tensor in table.tensors.items():
        assert -math.inf < tensor.low <= tensor.high < math.inf, name
    return True


def configs(rng: Rng, folder: Path) -> bool:
    """Print a mutated configuration; what is accepted is printed as a file that says the same."""
    name = pick(rng, list(_CONFIGS))
    path, printed = folder / "config.yaml", folder / "printed.yaml"
    path.write_bytes(mutate_text(_CONFIGS[name], rng))
    words = (*_ARGUMENTS.get(name, ()), "--print-config")
    done = verb(name, *words, "-c", path)
    if done.code:
        assert done.code == 2, done
        return False
    printed.write_text(done.out, encoding="utf-8")
    again = verb(name, *words, "-c", printed)
    assert _values(again.out) == _values(done.out), (path.read_bytes(), done.out, again)
    return True


def _values(printed: str) -> list[str]:
    return [line.rpartition("  # ")[0] for line in printed.splitlines()]


def _mutated(content: dict[str, Any], rng: Rng) -> bytes:
    if rng.random() < 0.4:
        return mutate_text(yaml.safe_dump(content), rng)
    text: str = yaml.safe_dump(mutate_value(content, rng), allow_unicode=True)
    return text.encode("utf-8", "surrogatepass")


@functools.lru_cache(maxsize=1)
def _engine_sha() -> str:
    return sha256(ENGINE)
