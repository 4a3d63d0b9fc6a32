"""Measure the effect of fp16 on labelled images: accuracy, scores, verdicts.

    python benchmarks/bench_fp16.py --engine destseg.onnx --data DIR --name magnetic-tile

Three graphs are compared on the same test images: fp32, the fp16 file as ONNX Runtime computes it
on a CPU (in fp32 between its casts), and the fp16 file with every tensor rounded as a GPU stores
it. Ranges are measured on training images, never on test images. Ends with exit code 4 when a
limit is exceeded.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from results import write_result  # the script's own folder is on the path

from edge_ad.dataset import labelled_images
from edge_ad.engine import open_engine
from edge_ad.errors import GateFailed
from edge_ad.evaluation.predictions import ScoredImage, score_all
from edge_ad.evaluation.summary import compute_metrics
from edge_ad.export.comparison_frames import comparison_frames
from edge_ad.export.fp16.convert import mixed_from_fp32
from edge_ad.export.fp16.rounding import rounded_as_stored
from edge_ad.onnx_graph.load import load_model, set_manifest

METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "aupro")
AUROC_SHIFT, NEAR = 0.001, 0.01  # limits: the shift, and how near the threshold a verdict may flip


def predictions_of(path: Path, data: Path) -> list[ScoredImage]:
    """Score every test image with the engine in a file."""
    with open_engine(path) as engine:
        return list(score_all(engine, labelled_images(data), {}))


def changes(before: list[ScoredImage], after: list[ScoredImage]) -> dict[str, Any]:
    """Compare scores, maps and verdicts.

    `threshold` is the 99 % quantile of the normal test scores; `far_flips` are those of scores
    farther than NEAR from it. Where `max_relative_score` is below NEAR, no threshold has any.
    """
    scores = np.array([[item.score for item in side] for side in (before, after)])
    normal = [item.score for item in before if not item.sample.anomalous]
    threshold = float(np.quantile(normal, 0.99))
    flips = (scores[0] > threshold) != (scores[1] > threshold)
    far = np.abs(scores[0] - threshold) > NEAR * threshold
    maps = [np.abs(a.values - b.values).max() for a, b in zip(before, after, strict=True)]
    return {
        "max_abs_map": float(max(maps)),
        "max_abs_score": float(np.abs(scores[0] - scores[1]).max()),
        "max_relative_score": float((np.abs(scores[1] - scores[0]) / scores[0]).max()),
        "threshold": threshold,
        "verdict_flips": int(flips.sum()),
        "far_flips": int((flips & far).sum()),
    }


def headline(figures: dict[str, Any], images: int) -> dict[str, float]:
    """Return the figures of a table, each from the worse of the two fp16 graphs."""
    fp16 = [figures[name] for name in ("fp16", "fp16_as_stored")]
    before = figures["fp32"]["image_auroc"]
    worst = max(fp16, key=lambda item: abs(item["image_auroc"] - before))
    return {
        "images": images,
        "image_auroc_fp32": before,
        "image_auroc_fp16": worst["image_auroc"],
        "image_auroc_shift": abs(worst["image_auroc"] - before),
        "verdict_flips": max(item["verdict_flips"] for item in fp16),
        "far_flips": max(item["far_flips"] for item in fp16),
    }


def fp16_files(engine: Path, data: Path, frames: int, folder: Path) -> tuple[dict[str, Path], Any]:
    """Write the fp16 graph, plain and rounded as stored; return both and what stayed in fp32."""
    model, manifest = load_model(engine)
    images = comparison_frames(manifest, data / "train", frames).images
    mixed = mixed_from_fp32(model, images, manifest)
    set_manifest(mixed.model, manifest.replace(precision="fp16"))
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
    reference = predictions_of(options.engine, options.data)
    figures: dict[str, Any] = {"fp32": {key: compute_metrics(reference)[key] for key in METRICS}}
    scores = {"fp32": [item.score for item in reference]}
    with tempfile.TemporaryDirectory() as folder:
        files, kept = fp16_files(options.engine, options.data, options.frames, Path(folder))
        for name, path in files.items():
            predictions = predictions_of(path, options.data)
            metrics = {key: compute_metrics(predictions)[key] for key in METRICS}
            figures[name] = metrics | changes(reference, predictions)
            scores[name] = [item.score for item in predictions]
            print(name, figures[name])
    figures["graph"] = {key: kept[key] for key in ("nodes", "kept_in_fp32", "casts")}
    head = headline(figures, len(reference))
    print(write_result("fp16", options.name, "fp16", metrics=head | figures, samples=scores))
    if head["image_auroc_shift"] > AUROC_SHIFT or head["far_flips"]:
        print(f"limit exceeded: {head}", file=sys.stderr)
        sys.exit(GateFailed.exit_code)


if __name__ == "__main__":
    main()
