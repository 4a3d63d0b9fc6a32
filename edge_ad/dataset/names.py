"""Names of folders and files that say what is normal and what is a mask, in any case."""

from __future__ import annotations

import re

_NORMAL = frozenset(
    {
        *("good", "ok", "normal", "nominal", "defectfree", "nodefect", "nondefective"),
        *("pass", "passed", "io", "gut", "良品", "正常", "合格", "정상", "양품"),
    }
)
# where these stand beside folders of parts, not all parts are good
_LABELLED = frozenset(
    {
        *("train", "training", "test", "testing", "val", "valid", "validation"),
        *("bad", "ng", "nok", "ko", "nio", "notok", "nogood", "fail", "failed", "failure"),
        *("defect", "defects", "defective", "anomaly", "anomalies", "anomalous", "abnormal"),
        *("reject", "rejects", "rejected", "scrap", "faulty", "broken", "damaged"),
        *("negative", "positive"),
        *("schlecht", "ausschuss", "fehler", "défaut", "rebut", "difetto", "scarto", "defecto"),
        *("不良", "不良品", "異常", "异常", "不合格", "缺陷", "불량", "불량품"),
    }
)
_MASKS = frozenset({"groundtruth", "gt", "mask", "masks", "label", "labels"})
_MASK_NAME = re.compile(
    r"(?P<image>.+?)[_\-. ](?:mask|label|gt|ground[_-]?truth)s?(?:[_\-. ]?\d+)?", re.IGNORECASE
)


def is_normal(name: str) -> bool:
    """Return whether a folder or a label of this name holds normal images: good, OK, normal."""
    return _plain(name) in _NORMAL


def is_labelled(name: str) -> bool:
    """Return whether a folder of this name says that its neighbours differ: test, NG, defects."""
    return _plain(name) in _LABELLED


def is_mask_folder(name: str) -> bool:
    """Return whether a folder of this name holds masks: ground_truth, Masks, labels, gt."""
    return _plain(name) in _MASKS


def masked_image(stem: str) -> str | None:
    """Return the stem of the image that `stem` masks, None for a name that is not a mask's.

    `000_mask`, `Part0_label`, `12345_GT` and `000_mask_2` are masks.
    """
    match = _MASK_NAME.fullmatch(stem)
    return match["image"] if match else None


def _plain(name: str) -> str:
    """Return the letters of a name, of any script, in lower case."""
    return "".join(letter for letter in name.lower() if letter.isalpha())
