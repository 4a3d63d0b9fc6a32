"""The text that `edge-ad train` prints after a training."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from statistics import mean
from typing import Any

MISSED, BEHIND = 0.75, 0.05  # image AUROC of small anomalies, and how far behind the others
_CHOSEN_ON = {
    "parts": "parts set aside for this",
    "images": "images of parts that were trained on",
    "trained": "images that were trained on",
}


def format_result(result: dict[str, Any]) -> str:
    """Return the lines to print after a training."""
    steps = ", ".join(f"{count} {phase}" for phase, count in result["steps"].items())
    split, size = result["split"], "x".join(map(str, result["size_hw"]))
    depth = [f"depth     {result['bit_depth']} bits"] if result["bit_depth"] > 8 else []
    grey = ["colour    the parts are grey, so the textures are too"] if result["grey"] else []
    lines = [
        f"images    {result['images']}, {len(result['skipped'])} skipped",
        *depth,
        f"parts     {split['parts']}: {split['trained']['parts']} trained on, "
        f"{split['threshold']['parts']} set aside for the threshold",
        f"tiles     {result['tiles']}, as {size} (height x width)",
        *grey,
        f"steps     {steps}, in {result['minutes']} minutes",
        f"scores    {_chosen(result['choice'])}",
        *_choice_table(result["choice"]["measured"]),
        *([format_inputs(result["inputs"])] if result["inputs"] else []),
        f"weights   {result['weights']}",
        f"report    {result['report']}, {result['image']}",
        f"held back {_held_back(result)}",
        *_small_defects(result),
        f"compared  {format_reference(result['reference'])}",
        f"next: edge-ad export {shlex.quote(result['weights'])}",
    ]
    return "\n".join(lines)


def _chosen(choice: dict[str, Any]) -> str:
    """Return the output that became the map, as the table below it names it."""
    branch, prior = choice.get("branch", "one map"), choice.get("prior", "none")
    return str(branch) if prior == "none" else f"{branch}+{prior}"


def _choice_table(measured: dict[str, Any]) -> Iterator[str]:
    """Yield image AUROC by output and kind of anomaly, where there is a choice."""
    from edge_ad.synthesis.kinds import UNSEEN

    kinds = list(next(iter(measured.values())).get("by_kind", ()))
    if len(measured) < 2 or not kinds:
        return
    titles = [f"{kind}*" if kind in UNSEEN else kind for kind in kinds]
    wide = max(map(len, measured))
    yield "          " + "  ".join(["image AUROC".ljust(wide), "  mean", *titles])
    for name, figures in measured.items():
        cells = [f"{figures['by_kind'][kind]:.3f}".rjust(len(title))
                 for kind, title in zip(kinds, titles, strict=True)]  # fmt: skip
        first = name.ljust(max(wide, len("image AUROC")))
        yield "          " + "  ".join([first, f"{figures['image_auroc']:6.3f}", *cells])
    yield "          * a kind that no training uses"


def format_inputs(inputs: list[dict[str, Any]]) -> str:
    """Return the table of inputs compared for a smallest defect; the chosen one has an arrow."""
    lines = ["inputs    size, levels      defect px  GFLOPs  image AUROC: small  larger"]
    for row in inputs:
        size, levels = "x".join(map(str, row["size_hw"])), "+".join(map(str, row["levels"]))
        small, large = mean(row["image_auroc_small"]), mean(row["image_auroc_large"])
        arrow = "->" if row["chosen"] else "  "
        lines.append(
            f"       {arrow} {f'{size}, {levels}':16}  {row['defect_px']:9.1f}  "
            f"{row['gflops']:6.1f}  {small:18.3f}  {large:6.3f}"
        )
    lines.append("          taken: the cheapest that is not clearly worse than the best")
    return "\n".join(lines)


def _small_defects(result: dict[str, Any]) -> Iterator[str]:
    """Say that the smallest kinds of anomalies are missed, where the larger ones are not."""
    from edge_ad.synthesis.fine import SPECK_PX
    from edge_ad.synthesis.kinds import FINE

    by_kind = result["held_back_figures"].get("by_kind", {})
    coarse = [value for kind, value in by_kind.items() if kind not in FINE]
    if result["inputs"] or not coarse:
        return
    limit = min(MISSED, mean(coarse) - BEHIND)
    missed = {kind: by_kind[kind] for kind in FINE if by_kind.get(kind, 1.0) < limit}
    if not missed:
        return
    figures = " and ".join(f"{kind} {value:.2f}" for kind, value in missed.items())
    low, high = SPECK_PX
    wide = f"{result['image_px_per_input_px'] * high:.3g}"
    yield (
        f"small     {figures} (image AUROC; {low:g} to {high:g} pixels of the input across, up to "
        f"{wide} of the images): hardly detected.\n"
        "          If such defects matter: --method patchcore --smallest-defect-px N compares "
        "inputs; --roi and --tiles enlarge parts of the image"
    )


def _held_back(result: dict[str, Any]) -> str:
    """Say what the detector makes of tiles that are not trained on."""
    figures, shown = result["held_back_figures"], _CHOSEN_ON[result["split"]["chosen_by"]]
    return (
        f"{result['held_back']} tiles of {shown}, with synthetic anomalies: image AUROC "
        f"{figures['image_auroc']:.3f}, pixel AP {figures['pixel_ap']:.3f}\n"
        "          (1 is perfect; real anomalies differ: measure with edge-ad evaluate)"
    )


def format_reference(reference: dict[str, Any]) -> str:
    """Return the image AUROC of untrained detectors on the same tiles."""
    if "skipped" in reference:
        return f"with nothing ({reference['skipped']})"
    names = {"gaussian": "a Gaussian", "patchcore": "a memory bank"}
    parts = [f"{text} {reference[name]['image_auroc']:.3f}" for name, text in names.items()]
    return f"{', '.join(parts)} (image AUROC of untrained detectors on the same tiles)"
