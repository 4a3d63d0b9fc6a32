"""Train DeSTSeg on real magnetic tiles within a time budget, and measure it on their test part.

    python benchmarks/bench_training.py [--shared ../shared] [--minutes 20] [--seed 0] [--threads 2]

All steps are edge-ad commands. `reference` are the figures to beat: the best plain run of the same
settings on two cores at the same size, before this project.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from results import write_result  # the script's own folder is on the path

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = {"image_auroc": 0.843, "pixel_ap": 0.127}
SHOWN = ("image_auroc", "pixel_auroc", "pixel_ap", "aupro", "iap", "iap90", "normal", "anomalous")
# Settings that improve accuracy per second on a CPU: a quarter of the width, bf16, half of the time
# for the student, structural anomalies beside textures, and learning rates that end at zero.
TRAINING = (
    "--method", "destseg", "--size", "128", "--width", "0.25", "--batch", "16",
    "--arithmetic", "bf16", "--device", "cpu",
    "--set", "student_time=0.5", "--set", "synthesis.structural_share=0.5",
    "--set", "lr_tail=0.3",
)  # fmt: skip


def edge_ad(*words: str) -> dict[str, Any]:
    """Run one of the project's commands and return the JSON object it prints."""
    run = [sys.executable, "-m", "edge_ad", *words, "--json"]
    done = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def train(data: Path, weights: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train for the budget and return the report."""
    return edge_ad(
        "train",
        *TRAINING,
        *("--data", str(data / "magnetic_tile"), "--textures", str(data / "textures")),
        *("--teacher", str(data / "weights" / "resnet18_imagenet_stem_to_layer3.pth")),
        *("--budget-minutes", str(options.minutes), "--seed", str(options.seed)),
        *("--threads", str(options.threads), "-o", str(weights)),
    )


def metrics_from(trained: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """Return the result file's metrics: the figures of the test part, and minutes and steps."""
    test = {name: measured[name] for name in SHOWN}
    kinds = {kind: {name: row[name] for name in SHOWN} for kind, row in measured["by_type"].items()}
    return {
        **test,
        "by_type": kinds,
        "reference": REFERENCE,
        "minutes": trained["minutes"],
        "steps": trained["steps"],
        "branch": trained["choice"]["branch"],
        "held_back": trained["choice"]["measured"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "magnetic_tile")
    options = parser.parse_args()
    data, weights = options.shared / "data", options.out / "destseg.pt"
    trained = train(data, weights, options)
    measured = edge_ad("evaluate", str(weights), "--data", str(data / "magnetic_tile"))
    metrics = metrics_from(trained, measured)
    settings = {"recipe": TRAINING, **{k: trained[k] for k in ("settings", "seed", "threads")}}
    path = write_result(
        "training", "destseg-magnetic-tile", "fp32", metrics=metrics, settings=settings
    )
    print({name: metrics[name] for name in SHOWN}, path)
    missed = [name for name, value in REFERENCE.items() if metrics[name] <= value]
    if missed:
        sys.exit(f"not above the reference: {', '.join(missed)}")


if __name__ == "__main__":
    main()
