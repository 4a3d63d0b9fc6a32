"""Selection of the output that separates normal from anomalous best, on held-back tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_ad.evaluation.ranking import auroc, average_precision
from edge_ad.methods.learning.batch import Batch
from edge_ad.synthesis.kinds import KINDS

BATCH_SIZE = 16
PIXEL_SHARE = 0.02  # what a pixel AP of 1 adds to the selection score
Branches = Callable[[Tensor], dict[str, tuple[Tensor, Tensor]]]
B = TypeVar("B", bound=str)
BranchFigures = dict[str, dict[str, Any]]
_Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]  # maps, scores


def measure(held_back: Batch, branches: Branches) -> BranchFigures:
    """Return image AUROC, pixel AP and selection score of each branch; the highest score wins.

    The image score decides what a line rejects, so the selection score is image AUROC, the mean
    over the kinds of anomalies (`by_kind`), some of which no training uses; pixel AP only decides
    between near equals, since it flatters a branch that was trained on anomalies of these kinds.
    `branches` takes rgb and returns each branch's maps and scores; it gets a normal tile once,
    however many of the copies are of it. Tiles whose anomaly drew an empty mask count for pixels
    only. Without any anomaly all figures are 0.5.
    """
    normal = _predict_normal(held_back, branches)
    anomalous = _predict(held_back.anomalous, branches)
    mask: NDArray[np.bool_] = held_back.mask[:, 0].bool().numpy()
    kinds = _kinds(held_back)
    return {branch: _figures(normal[branch], anomalous[branch], mask, kinds) for branch in normal}


def best(figures: Mapping[B, Mapping[str, Any]]) -> B:
    """Return the branch of the highest selection score; the first of equals."""
    return max(figures, key=lambda branch: figures[branch]["selection_score"])


def _predict_normal(held_back: Batch, branches: Branches) -> dict[str, _Outputs]:
    """Return the outputs for the normal tile of each copy."""
    _, first, tile = np.unique(held_back.tile.numpy(), return_index=True, return_inverse=True)
    distinct = _predict(held_back.normal[first], branches)
    return {branch: (maps[tile], scores[tile]) for branch, (maps, scores) in distinct.items()}


def _predict(images: Tensor, branches: Branches) -> dict[str, _Outputs]:
    parts = [branches(part) for part in torch.split(images, BATCH_SIZE)]
    return {
        branch: (
            torch.cat([part[branch][0].float().cpu() for part in parts]).numpy(),
            torch.cat([part[branch][1].float().cpu() for part in parts]).numpy(),
        )
        for branch in parts[0]
    }


def _kinds(held_back: Batch) -> NDArray[np.str_]:
    """Return the name of each anomaly's kind; "" where kinds are not distinguished."""
    if held_back.kind is None:
        return np.full(len(held_back.mask), "")
    return np.array([KINDS[number] for number in held_back.kind.tolist()])


def _figures(
    normal: _Outputs, anomalous: _Outputs, mask: NDArray[np.bool_], kinds: NDArray[np.str_]
) -> dict[str, Any]:
    shown = mask.reshape(len(mask), -1).max(axis=1)  # tiles whose mask is not empty
    if not shown.any():
        return _as_report({}, 0.5)
    by_kind = {
        kind: auroc(normal[1], anomalous[1][shown & (kinds == kind)])
        for kind in dict.fromkeys(kinds[shown].tolist())
    }
    pixels = np.concatenate([normal[0].ravel(), anomalous[0][~mask]])
    return _as_report(by_kind, average_precision(pixels, anomalous[0][mask]))


def _as_report(by_kind: dict[str, float], precision: float) -> dict[str, Any]:
    auroc = float(np.mean(list(by_kind.values()))) if by_kind else 0.5
    score = auroc + PIXEL_SHARE * precision
    report = {"image_auroc": auroc, "pixel_ap": precision, "selection_score": score}
    return report | ({"by_kind": by_kind} if by_kind and "" not in by_kind else {})
