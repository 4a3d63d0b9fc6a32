"""Result and text of `edge-ad threshold`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_ad.calibration.thresholds.anomalies import AnomalyScores, describe_escapes
from edge_ad.calibration.thresholds.guarantee import Guarantee, largest_rank
from edge_ad.calibration.thresholds.normal_input import NormalInput
from edge_ad.calibration.thresholds.scores import NormalScores
from edge_ad.files import printable
from edge_ad.frame_light import USUAL_CHANGE
from edge_ad.images.listing import left_out_lines
from edge_ad.manifest import ASSUMED, Threshold
from edge_ad.parts import USUAL_RATE, parts_needed, rounded_up, supported_rate
from edge_ad.wording import counted

_LOW_RATE = 0.01


def result_of(
    engine: Path,
    threshold: Threshold,
    given: NormalInput,
    scores: NormalScores,
    anomalies: AnomalyScores,
    requested_rate: float | None,
) -> dict[str, Any]:
    """Return the record of `--json`, without the sidecar's path."""
    parts = scores.by(threshold.by)
    guarantee = Guarantee(threshold.false_alarm_rate, threshold.confidence)
    needed = requested_rate and parts_needed(requested_rate, threshold.confidence)
    return {
        "type": "threshold",
        "engine": str(engine),
        "threshold": threshold.image,
        "pixel_threshold": threshold.pixel,
        "rate": threshold.false_alarm_rate,
        "confidence": threshold.confidence,
        "by": threshold.by,
        "images": threshold.images,
        "parts": len(parts),
        "parts_from": given.parts_from,
        "decided_by": threshold.decided_by or None,
        "second_exposures": asdict(given.recognition) if given.recognition else None,
        "set_aside": threshold.set_aside,
        "folds": threshold.folds,
        "guaranteed": not (threshold.folds or threshold.is_assumed),
        "drift": threshold.drift.to_dict() if threshold.drift else None,
        "escapes": describe_escapes(threshold, anomalies),
        "rank": largest_rank(len(parts), guarantee),
        "requested_rate": requested_rate,
        "parts_needed": needed,
        "supported_rate": supported_rate(len(parts), threshold.confidence),
        "near_duplicates": len(scores.repeats),
        "highest": scores.highest(),
        "left_out": scores.left_out,
        "anomalies_left_out": anomalies.left_out,
        "geometry": threshold.geometry.to_dict(),
        "data_sha256": threshold.data_sha256,
    }


def format_result(result: dict[str, Any]) -> str:
    """Format thresholds, guarantee and cost."""
    lines = [
        f"threshold {result['threshold']:.6g} for images, {result['pixel_threshold']:.6g} for "
        "pixels",
        _format_guarantee(result),
        *_about_rate(result),
        f"Stored in {result['sidecar']}.",
        *_format_escapes(result["escapes"]),
    ]
    return "\n".join(lines)


def _about_rate(result: dict[str, Any]) -> Iterator[str]:
    """Yield why the rate is not the one requested, or not a usual one."""
    if result["requested_rate"] not in {None, result["rate"]}:
        yield (
            f"Requested was {result['requested_rate']:g}, which needs {result['parts_needed']} "
            "parts; this is the nearest rate that these support."
        )
    elif result["requested_rate"] is None and result["rate"] > USUAL_RATE:
        yield f"{_needed(result['confidence'])} Collect more for a lower rate."


def _needed(confidence: float) -> str:
    """Return like "0.05 needs 59 parts, 0.01 needs 299."."""
    usual, low = (parts_needed(rate, confidence) for rate in (USUAL_RATE, _LOW_RATE))
    return f"{USUAL_RATE:g} needs {usual} parts, {_LOW_RATE:g} needs {low}."


def _format_guarantee(result: dict[str, Any]) -> str:
    """Say what is bounded, and by how many parts: "24 parts support 12 %"."""
    images = "" if result["parts"] == result["images"] else f" ({result['images']} images)"
    how = "by the highest score of each part" if result["by"] == "part" else (
        "by one image drawn from each part")  # fmt: skip
    best = f"{rounded_up(result['supported_rate']):g}"
    will = "will" if result["guaranteed"] else "should"
    return (
        f"At most {result['rate']:.3g} of normal {result['by']}s like these {will} be rejected, "
        f"with confidence {result['confidence']:g}: {how}.\n{''.join(_reservations(result))}"
        f"{counted(result['parts'], 'part')}{images} support {best} at best; "
        f"parts: {result['parts_from']}."
    )


def _reservations(result: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each reason why the rate is not guaranteed."""
    if result["folds"]:
        yield (
            f"An estimate, not a guarantee: {result['folds']} other nets scored these parts, and "
            "the detector may score new ones higher.\n"
        )
    if result["decided_by"] == ASSUMED:
        yield (
            f"Not a guarantee unless these are {counted(result['parts'], 'different part')}: their "
            "looks do not show it.\n"
        )


def _format_escapes(escapes: dict[str, Any]) -> Iterator[str]:
    """Yield what the threshold costs: in all, then by kind where there are several."""
    yield f"Escapes: {_escapes_line(escapes)} {escapes['kind']} anomalous images pass."
    if len(escapes["kinds"]) > 1:
        width = max(map(len, escapes["kinds"]))
        for kind, each in escapes["kinds"].items():
            yield f"  {kind:{width}}  {_escapes_line(each)}"
    if escapes["kind"] == "synthetic":
        yield "  Synthetic anomalies only resemble those of your line: give real ones, --anomalies."


def _escapes_line(escapes: dict[str, Any]) -> str:
    return (
        f"{escapes['count']} of {escapes['images']} "
        f"({escapes['share']:.1%}; 95 % interval {escapes['low']:.1%} to {escapes['high']:.1%})"
    )


def warnings(
    result: dict[str, Any], given: NormalInput, repeats: Sequence[tuple[str, str]]
) -> Iterator[str]:
    """Yield what the user should know about the images behind the guarantee."""
    yield from given.notes
    if given.doubt:
        yield given.doubt
    elif given.recognition:
        yield (
            "The parts were found by comparing the images, which takes images of one part for "
            "several where it is turned by more than a few degrees: look at them once, edge-ad "
            "dataset GOOD_DIR --sheet parts.png"
        )
    if result["drift"] and result["drift"]["accepted"]:
        yield (
            "Stored although scores drift over time (--allow-drift): the guarantee does not hold "
            "for parts to come."
        )
    yield from _light_changes(result["drift"])
    highest = ", ".join(f"{printable(name)} {score:.4g}" for name, score in result["highest"])
    yield f"Check that the highest-scoring images show good parts: {highest}"
    if repeats:
        some = ", ".join(f"{name} repeats {original}" for name, original in repeats[:3])
        yield (
            f"{len(repeats)} near-duplicates were not counted, since they are not "
            f"independent: {some}{' ...' if len(repeats) > 3 else ''}"
        )
    for reasons in (result["left_out"], result["anomalies_left_out"]):
        texts = [why if name in why else f"{name}: {why}" for name, why in reasons.items()]
        yield from left_out_lines(texts)


def _light_changes(drift: dict[str, Any] | None) -> Iterator[str]:
    """Yield a warning of light that changes while the scores, so far, do not."""
    if not drift or drift["brightness_p"] is None:
        return
    first, last = drift["brightness"]
    if drift["brightness_p"] <= drift["level"] and abs(last - first) > USUAL_CHANGE:
        yield (
            f"The light changes over time (in order of {drift['order']}: brightness {first:.0f} in "
            f"the first third of the parts, {last:.0f} in the last; probability "
            f"{drift['brightness_p']:.2g} by chance). The guarantee is for light as in these "
            "images, not for light that goes on changing: take images over as long a time "
            "as a line runs without care."
        )
