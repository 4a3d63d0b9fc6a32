"""Result and text of `edge-ad dataset`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from edge_ad.files import printable
from edge_ad.parts import parts_needed, rounded_up, supported_rate
from edge_ad.parts.assignment import PartAssignment
from edge_ad.parts.survey import Survey

_NAMED = 10  # files left out; the others are counted


def result_of(
    folder: Path, assignment: PartAssignment, survey: Survey, confidence: float
) -> dict[str, Any]:
    """Return the record of `--json`."""
    part_of, recognition = assignment.parts, assignment.recognition
    per_part = [len(paths) for paths in assignment.groups().values()]
    repeats = [pair for pair in survey.duplicates if set(pair) <= part_of.keys()]
    return {
        "type": "dataset",
        "folder": str(folder),
        "files": len(part_of) + len(survey.left_out),
        "images": len(part_of),
        "parts": len(per_part),
        "images_per_part": _spread(per_part),
        "upper_bound": assignment.is_upper_bound,
        "decided_by": assignment.how.value,
        "detail": assignment.detail,
        "doubt": assignment.doubt or None,
        "second_exposures": asdict(recognition) if recognition else None,
        "duplicates": len(repeats),
        "duplicate_of": {str(image): str(first) for image, first in repeats},
        "odd": {str(path): why for path, why in survey.odd.items() if path in part_of},
        "left_out": {str(path): why for path, why in survey.left_out.items()},
        "sizes": _sizes(survey.sizes[path] for path in part_of),
        "brightness": _spread([survey.brightness[path] for path in part_of]),
        "supported_rate": supported_rate(len(per_part), confidence),
        "confidence": confidence,
        "part_of": {str(path): part for path, part in part_of.items()},
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "median": median(values), "max": max(values)}


def _sizes(sizes_hw: Iterator[tuple[int, int]]) -> dict[str, int]:
    """Count the images of each size as WxH, the most frequent first."""
    counts = Counter(f"{width}x{height}" for height, width in sizes_hw)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def format_result(result: dict[str, Any]) -> str:
    """Format what the folder holds, a line a fact."""
    per, light, sizes = result["images_per_part"], result["brightness"], list(result["sizes"])
    several = f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else ""
    rows = [
        ("images", f"{result['images']} of {result['files']} files"),
        ("parts", f"{_at_most(result)}{result['parts']} ({result['detail']})"),
        ("per part", f"{per['min']} to {per['max']} images, median {per['median']:g}"),
        ("duplicates", f"{result['duplicates']} near-duplicates of other images"),
        ("sizes", ", ".join(f"{size} ({result['sizes'][size]})" for size in sizes[:3]) + several),
        ("brightness", f"{light['min']:.0f} to {light['max']:.0f}, median {light['median']:.0f}"),
        ("guarantee", _guarantee(result)),
    ]
    rows += [("odd", f"{path}: {why}") for path, why in result["odd"].items()]
    left_out = [f"{path}: {why.removeprefix(f'{path}: ')}"
                for path, why in result["left_out"].items()]  # fmt: skip
    if len(left_out) > _NAMED + 1:
        left_out[_NAMED:] = [f"{len(left_out) - _NAMED} more files (all with --json)"]
    rows += [("left out", text) for text in left_out]
    return "\n".join(f"{name:12}{printable(value)}" for name, value in rows)


def _at_most(result: dict[str, Any]) -> str:
    return "at most " if result["upper_bound"] else ""


def _guarantee(result: dict[str, Any]) -> str:
    so_many = "there are so many and " if result["upper_bound"] else ""
    return (
        f"a false-alarm rate of {rounded_up(result['supported_rate']):g} at best, "
        f"with confidence {result['confidence']:g}, if {so_many}none of these parts is trained on"
    )


def warnings(
    result: dict[str, Any],
    assignment: PartAssignment,
    survey: Survey,
    requested_rate: float | None,
) -> Iterator[str]:
    """Yield why the parts may be wrong, or too few for the rate that the user asks about."""
    if assignment.doubt:
        yield assignment.doubt
    parts = assignment.parts
    split = [(one, two) for one, two in survey.duplicates
             if one in parts and two in parts and parts[one] != parts[two]]  # fmt: skip
    if split:
        one, two = split[0]
        yield (
            f"{len(split)} near-duplicates are of another part than the image they repeat, like "
            f"{one} of part '{parts[one]}' and {two} of part '{parts[two]}'. If they show one "
            "part, correct its name: otherwise it is trained on and tested on."
        )
    rate, confidence = requested_rate, result["confidence"]
    if rate is not None and result["parts"] < (needed := parts_needed(rate, confidence)):
        yield (
            f"A false-alarm rate of {rate:g} with confidence {confidence:g} needs {needed} parts "
            f"that were not trained on; here are {_at_most(result)}{result['parts']}, which "
            f"support {rounded_up(result['supported_rate']):g}. Collect images of more parts."
        )
