"""Measures what fp16 costs a detector on labelled pictures: accuracy, scores, verdicts.

    python benchmarks/bench_fp16.py --engine destseg.onnx --data DIR --name magnetic-tile

Three graphs judge the same test pictures: fp32, the fp16 file as ONNX Runtime computes it on a
CPU (in fp32 between its casts), and the fp16 file with every tensor rounded as a GPU stores it.
Ranges are measured on pictures of the training part, which the test never shows.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from results import write_result  # the script's own folder is on the path

from edge_ad.dataset import labelled_images
from edge_ad.engine import open_engine
from edge_ad.evaluation.judged import Judged, LeftOut, judge_all
from edge_ad.evaluation.summary import metrics_of
from edge_ad.export.frames import frames_for
from edge_ad.export.metadata import load_model, set_manifest
from edge_ad.export.mixed import mixed_from_fp32
from edge_ad.export.rounding import rounded_as_stored

METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "aupro")


def judged_by(path: Path, data: Path) -> list[Judged]:
    """Every test picture, judged by the engine in a file."""
    with open_engine(path) as engine:
        return list(judge_all(engine, labelled_images(data), LeftOut()))


def changes(before: list[Judged], after: list[Judged]) -> dict[str, Any]:
    """What became of scores, maps and verdicts.

    `threshold` is the 99 % quantile of the normal test scores. Where `max_relative_score` is below
    0.01, no threshold at all makes a verdict flip that is farther than 1 % from it.
    """
    scores = np.array([[one.score for one in side] for side in (before, after)])
    normal = [one.score for one in before if not one.sample.anomalous]
    threshold = float(np.quantile(normal, 0.99))
    maps = [np.abs(a.values - b.values).max() for a, b in zip(before, after, strict=True)]
    return {
        "max_abs_map": float(max(maps)),
        "max_abs_score": float(np.abs(scores[0] - scores[1]).max()),
        "max_relative_score": float((np.abs(scores[1] - scores[0]) / scores[0]).max()),
        "threshold": threshold,
        "verdict_flips": int(((scores[0] > threshold) != (scores[1] > threshold)).sum()),
    }


def fp16_files(engine: Path, data: Path, frames: int, folder: Path) -> tuple[dict[str, Path], Any]:
    """The fp16 graph as a file, and rounded as stored; and the report of what stayed in fp32."""
    model, manifest = load_model(engine)
    mixed = mixed_from_fp32(model, frames_for(manifest, data / "train", frames), manifest)
    set_manifest(mixed.model, manifest.model_copy(update={"precision": "fp16"}))
    files = {"fp16": folder / "fp16.onnx", "fp16_as_stored": folder / "stored.onnx"}
    onnx.save(mixed.model, files["fp16"])
    onnx.save(rounded_as_stored(mixed.model), files["fp16_as_stored"])
    return files, mixed.as_json()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--frames", type=int, default=16)
    options = parser.parse_args()
    reference = judged_by(options.engine, options.data)
    figures: dict[str, Any] = {"fp32": {key: metrics_of(reference)[key] for key in METRICS}}
    scores = {"fp32": [one.score for one in reference]}
    with tempfile.TemporaryDirectory() as folder:
        files, kept = fp16_files(options.engine, options.data, options.frames, Path(folder))
        for name, path in files.items():
            judged = judged_by(path, options.data)
            metrics = {key: metrics_of(judged)[key] for key in METRICS}
            figures[name] = metrics | changes(reference, judged)
            scores[name] = [one.score for one in judged]
            print(name, figures[name])
    counts = {key: kept[key] for key in ("nodes", "kept_in_fp32", "casts")}
    figures["graph"] = counts
    print(write_result("fp16", options.name, "fp16", metrics=figures, samples=scores))


if __name__ == "__main__":
    main()
