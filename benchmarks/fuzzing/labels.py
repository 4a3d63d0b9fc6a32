"""Mutated masks, and labelled folders of every layout whose files are moved, lost or damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.dataset import labelled_images, normal_images
from edge_ad.dataset.mask import mask_fault, read_mask
from edge_ad.errors import DataError
from edge_ad.images import SUFFIXES, read_stored
from fuzzing.models import ENGINE
from fuzzing.mutations import Rng, mutate, mutate_text, pick
from fuzzing.verbs import verb

_SIDE = 24
_NOT_TO_TEST = {"train", "validation"}
# layout: its images, masks (a trailing 0 is an empty one) and tables
_LAYOUTS: dict[str, tuple[str, str]] = {
    "mvtec": (
        "train/good/t.png test/good/n.png test/good/m.png test/dent/a.png test/hole/b.png",
        "ground_truth/dent/a_mask.png ground_truth/hole/b_mask.png",
    ),
    "loco": (
        "train/good/t.png validation/good/v.png test/good/n.png test/logical_anomalies/000.png "
        "test/structural_anomalies/000.png",
        "ground_truth/logical_anomalies/000/000.png ground_truth/structural_anomalies/000/000.png",
    ),
    "btad": (
        "train/ok/t.bmp test/ok/n.bmp test/ko/a.bmp test/ko/b.bmp",
        "ground_truth/ok/n.png0 ground_truth/ko/a.png ground_truth/ko/b.png",
    ),
    "visa": (
        "Data/Images/Normal/n.JPG Data/Images/Anomaly/a.JPG Data/Images/Anomaly/b.JPG",
        "Data/Masks/Anomaly/a.png Data/Masks/Anomaly/b.png",
    ),
    "kolektor": (
        "kos01/Part0.jpg kos01/Part1.jpg kos02/Part0.jpg",
        "kos01/Part0_label.bmp kos01/Part1_label.bmp0 kos02/Part0_label.bmp",
    ),
    "ksdd2": (
        "train/1.png train/2.png test/3.png test/4.png",
        "train/1_GT.png0 train/2_GT.png test/3_GT.png0 test/4_GT.png",
    ),
    "magnetic-tile": (
        "MT_Free/Imgs/e1.jpg MT_Crack/Imgs/e2.jpg MT_Fray/Imgs/e3.jpg",
        "MT_Free/Imgs/e1.png0 MT_Crack/Imgs/e2.png MT_Fray/Imgs/e3.png",
    ),
    "plain": (
        "normal/0.png normal/1.png scratch/0.png dent/0.png",
        "masks/scratch/0.png masks/dent/0.png",
    ),
    "plain, masks beside": ("ok/0.png nok/0.png nok/1.png", "nok/0_mask.png nok/1_mask.png"),
}
_TABLE = (
    "image;label;mask\nData/Images/Normal/n.JPG;normal;\n"
    "Data/Images/Anomaly/a.JPG;burn,chip;Data/Masks/Anomaly/a.png\n"
    "Data/Images/Anomaly/b.JPG;burn;Data/Masks/Anomaly/b.png\n"
)


def masks(rng: Rng, folder: Path) -> bool:
    """Read a mutated mask. An accepted one marks what is not zero, and neither nothing nor all."""
    path, values = folder / f"a_mask{pick(rng, ('.png', '.bmp', '.tiff', '.jpg'))}", _mask(rng)
    path.write_bytes(_encoded(path.suffix, values))
    if rng.random() < 0.5:
        path.write_bytes(mutate(path.read_bytes(), rng))
    marked = read_mask(path)
    pixels = read_stored(path).pixels
    assert marked.shape == pixels.shape[:2] and marked.dtype == np.bool_, marked.shape
    if path.suffix != ".jpg" and (pixels.ndim == 2 or pixels.shape[2] == 3):
        truth = pixels != 0 if pixels.ndim == 2 else (pixels != 0).any(axis=2)
        assert np.array_equal(marked, truth), "another truth than the file's values"
    fault = mask_fault(marked)
    assert fault or 0 < marked.mean() <= 0.9, marked.mean()
    return not fault


def labelled_folders(rng: Rng, folder: Path) -> bool:
    """List a mutated labelled folder: each image file has one role, or is named as left out."""
    root = folder / "product"
    _write(root, pick(rng, list(_LAYOUTS)))
    for _ in range(int(rng.integers(1, 4))):
        pick(rng, _CHANGES)(root, rng)
    if rng.random() < 0.25:
        return _evaluate(root)
    lenient = bool(rng.integers(2))
    try:
        train = set(normal_images(root))
    except DataError:
        train = set()
    labelled = labelled_images(root, leave_out_bad_masks=lenient)
    truths = {mask for sample in labelled for mask in sample.masks}
    samples = [sample.path for sample in labelled]
    assert len(set(samples)) == len(samples), "an image is listed twice"
    assert not truths & (train | set(samples)), "a mask is an image too"
    assert not train & {sample.path for sample in labelled if sample.anomalous}
    if not lenient:
        _check_all_have_a_role(root, train | truths | set(samples), set(labelled.left_out))
    return True


def _check_all_have_a_role(root: Path, used: set[Path], left_out: set[str]) -> None:
    """Check that no image of a test set is lost; anomalous training images have no role."""
    named = {Path(path) for path in left_out}
    for path in root.rglob("*"):
        part = path.relative_to(root).parts[0].lower()
        if path.suffix.lower() in SUFFIXES and path.is_file() and part not in _NOT_TO_TEST:
            assert path in used | named, f"{path.relative_to(root)} is neither used nor named"


def _evaluate(root: Path) -> bool:
    words = ("--threshold", "0.5", "--json", "--leave-out-bad-masks")
    done = verb("evaluate", ENGINE, "--data", root, *words)
    if done.code:
        assert done.code == 2, done
        return False
    result = json.loads(done.out.splitlines()[-1])
    assert result["listed"] == result["scored"] + len(result["left_out"]), result
    assert result["scored"] == result["normal"] + result["anomalous"], result
    return True


def _write(root: Path, layout: str) -> None:
    images, masks_of = _LAYOUTS[layout]
    for name in images.split():
        _save(root / name, _image())
    for name in masks_of.split():
        _save(root / name.rstrip("0"), _block(0 if name.endswith("0") else 255))
    if layout == "visa":
        (root / "image_anno.csv").write_text(_TABLE)


def _image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(20, 200, (_SIDE, _SIDE, 3)).astype(np.uint8)


def _block(value: int) -> NDArray[np.uint8]:
    mask = np.zeros((_SIDE, _SIDE), np.uint8)
    mask[8:14, 6:12] = value
    return mask


def _mask(rng: Rng) -> NDArray[Any]:
    """Return a mask of usual and of doubtful values, types and shapes."""
    mask = _block(int(pick(rng, (0, 1, 2, 128, 255)))).astype(pick(rng, (np.uint8, np.uint16)))
    if rng.random() < 0.3:
        mask = 255 - mask
    if rng.random() < 0.4:
        mask = np.dstack([mask] * int(pick(rng, (3, 4))))
    return mask


def _encoded(suffix: str, array: NDArray[Any]) -> bytes:
    if suffix.lower() in {".bmp", ".jpg"}:
        array = array.astype(np.uint8)
    done, data = cv2.imencode(suffix.lower(), array)
    assert done, suffix
    return bytes(data)


def _save(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encoded(path.suffix, array))


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def _damage(root: Path, rng: Rng) -> None:
    if files := _files(root):
        path = pick(rng, files)
        data = path.read_bytes()
        text = path.suffix == ".csv"
        path.write_bytes(
            mutate_text(data.decode(errors="replace"), rng) if text else mutate(data, rng)
        )


def _lose(root: Path, rng: Rng) -> None:
    if files := _files(root):
        pick(rng, files).unlink()


def _lose_folder(root: Path, rng: Rng) -> None:
    if places := sorted(path for path in root.rglob("*") if path.is_dir()):
        shutil.rmtree(pick(rng, places))


def _rename(root: Path, rng: Rng) -> None:
    """Rename a file or folder: another case, another suffix, a name of masks, a number."""
    paths = sorted(root.rglob("*"))
    if not paths:
        return
    path = pick(rng, paths)
    names = (path.name.upper(), path.name.swapcase(), f"{path.stem}_mask{path.suffix}", "good",
             f"{path.stem}.tga", f"0{path.name}", "masks", "test", "gt", "tür")  # fmt: skip
    target = path.with_name(pick(rng, names))
    if not target.exists():
        path.rename(target)


def _copy(root: Path, rng: Rng) -> None:
    """Copy a file to another folder, or under another suffix."""
    files = _files(root)
    if not files:
        return
    path, place = pick(rng, files), pick(rng, files).parent
    names = (path.name, f"{path.stem}.bmp", f"{path.stem}_mask.png", "extra.png", "notes.txt")
    target = place / pick(rng, names)
    if not target.exists():
        shutil.copy(path, target)


def _nest(root: Path, rng: Rng) -> None:
    """Move a file one folder deeper."""
    if files := _files(root):
        path = pick(rng, files)
        deeper = path.parent / "deeper"
        deeper.mkdir(exist_ok=True)
        path.rename(deeper / path.name)


def _resize(root: Path, rng: Rng) -> None:
    if files := [path for path in _files(root) if path.suffix.lower() in SUFFIXES]:
        path = pick(rng, files)
        _save(path, pick(rng, (_block(1)[:12], _block(7)[:, :5], 255 - _block(255), _block(0))))


_CHANGES: tuple[Callable[[Path, Rng], None], ...] = (
    _damage, _damage, _lose, _lose_folder, _rename, _rename, _copy, _copy, _nest, _resize, _resize
)  # fmt: skip
