"""Which of a network's maps tells good from damaged best, on good images it has not seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_ad.methods.learning.batch import Batch

AT_ONCE = 16
PIXEL_SHARE = 0.02  # what a pixel AP of 1 adds to the merit
Branches = Callable[[Tensor], dict[str, tuple[Tensor, Tensor]]]
Measured = dict[str, dict[str, float]]


def measure(held_back: Batch, branches: Branches) -> Measured:
    """Image AUROC (damaged against clean), pixel AP and merit of each branch; highest merit wins.

    The image score decides what a line rejects, so merit is image AUROC; pixel AP only tells near
    equals apart, since it flatters the branch that was trained on damage of just these kinds.
    `branches` takes rgb and answers each branch's maps and scores. Tiles whose damage drew an
    empty mask count for pixels only. NaN-free: without any damage all figures are 0.5.
    """
    seen = {
        "clean": _judge(held_back.normal, branches),
        "hurt": _judge(held_back.anomalous, branches),
    }
    mask: NDArray[np.bool_] = held_back.mask[:, 0].bool().numpy()
    real = mask.reshape(len(mask), -1).max(axis=1)
    return {
        branch: _figures(seen["clean"][branch], seen["hurt"][branch], mask, real)
        for branch in seen["clean"]
    }


def _judge(images: Tensor, branches: Branches) -> dict[str, list[NDArray[np.float32]]]:
    parts = (images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE))
    answers = [branches(part) for part in parts]
    return {
        branch: [
            torch.cat([answer[branch][kind].float().cpu() for answer in answers]).numpy()
            for kind in (0, 1)
        ]
        for branch in answers[0]
    }


def _figures(
    clean: list[NDArray[np.float32]],
    hurt: list[NDArray[np.float32]],
    mask: NDArray[np.bool_],
    real: NDArray[np.bool_],
) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not real.any():
        return _told(0.5, 0.5)
    labels = np.repeat([0, 1], [len(clean[1]), int(real.sum())])
    auroc = float(roc_auc_score(labels, np.concatenate([clean[1], hurt[1][real]])))
    maps = np.concatenate([clean[0], hurt[0]])
    truth = np.concatenate([np.zeros_like(mask), mask])
    precision = float(average_precision_score(truth.ravel(), maps.ravel()))
    return _told(auroc, precision)


def _told(auroc: float, precision: float) -> dict[str, float]:
    merit = auroc + PIXEL_SHARE * precision
    return {"image_auroc": auroc, "pixel_ap": precision, "selection_score": merit}
