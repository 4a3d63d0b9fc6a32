"""Every value other than zero is a defect, in every kind of file that holds a mask."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.dataset.mask import mask_fault, read_mask
from edge_ad.errors import DataError
from tests.dataset.folders import SIDE, block, save

MARKED = block() > 0


def layers(*planes: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.dstack(planes)


def zeros() -> NDArray[np.uint8]:
    return np.zeros((SIDE, SIDE), np.uint8)


def full(value: int = 255) -> NDArray[np.uint8]:
    return np.full((SIDE, SIDE), value, np.uint8)


_CLASSES = np.where(MARKED, np.arange(SIDE, dtype=np.uint8)[:, None], 0).astype(np.uint8)
_FILES: dict[str, NDArray[np.generic]] = {
    "0/255.png": block(),
    "0/1.png": block(1),
    "class numbers.png": _CLASSES,
    "bmp.bmp": block(),
    "tiff 0/1.tiff": block(1),
    "pgm.pgm": block(3),
    "16 bits below 256.png": block().astype(np.uint16) // 255 * 7,
    "16 bits above 255.png": block().astype(np.uint16) * 256,
    "float.tiff": block(1).astype(np.float32),
    "colour.png": layers(zeros(), block(), zeros()),
    "dark colour.png": layers(zeros(), zeros(), block(1)),
    "opaque.png": layers(block(), block(), block(), full()),
    "white where transparent.png": layers(full(), full(), full(), block()),
    "black on transparent.png": layers(zeros(), zeros(), zeros(), block()),
    "faint alpha.png": layers(zeros(), zeros(), zeros(), block(1)),
    "hidden colours.png": layers(full(), block(), block(), block()),
    "alpha without meaning.png": layers(block(), zeros(), zeros(), full(7)),
    "lossless webp.webp": layers(block(), block(), block()),
}


@pytest.mark.parametrize("name", list(_FILES))
def test_any_value_other_than_zero_is_a_defect(tmp_path: Path, name: str) -> None:
    path = tmp_path / name.replace("/", "-")
    save(path, _FILES[name])
    assert np.array_equal(read_mask(path), MARKED)


@pytest.mark.parametrize("suffix", [".jpg", ".jpe", ".webp", ".jp2", ".avif"])
def test_lossy_masks_are_cut_at_half_of_their_largest_value(tmp_path: Path, suffix: str) -> None:
    large = np.kron(block(), np.ones((8, 8), np.uint8))  # 8x8 blocks, as JPEG has
    for value in (255,) if suffix == ".avif" else (1, 255):  # it moves 1 too far to tell
        save(tmp_path / f"m{suffix}", large // 255 * value)
        assert (read_mask(tmp_path / f"m{suffix}") != (large > 0)).mean() < 0.01


def test_jpeg_masks_of_several_values_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "m.jpg", np.linspace(0, 255, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint8))
    with pytest.raises(DataError, match=r"m\.jpg.*lossy.*PNG"):
        read_mask(tmp_path / "m.jpg")


def test_nan_in_a_mask_is_refused(tmp_path: Path) -> None:
    values = block(1).astype(np.float32)
    values[0, 0] = np.nan
    save(tmp_path / "m.tiff", values)
    with pytest.raises(DataError, match="NaN"):
        read_mask(tmp_path / "m.tiff")


@pytest.mark.parametrize(
    ("columns", "fault"), [(0, "empty"), (4, ""), (13, ""), (22, "inverted"), (24, "inverted")]
)
def test_empty_and_inverted_masks_are_named(columns: int, fault: str) -> None:
    """Marks that many of 24 columns: up to half of the image can be a real defect."""
    marked = np.zeros((SIDE, SIDE), np.bool_)
    marked[:, :columns] = True
    assert fault in mask_fault(marked) and bool(fault) == bool(mask_fault(marked))


@pytest.mark.parametrize("side", [2, 8, 16, 18])
def test_what_surrounds_an_unmarked_block_is_inverted(side: int) -> None:
    marked = np.ones((SIDE, SIDE), np.bool_)
    marked[2 : 2 + side, 2 : 2 + side] = False
    share = marked.mean()
    assert ("inverted" in mask_fault(marked)) == (share > 0.5)


def test_a_palette_with_a_black_zero_marks_the_rest(tmp_path: Path) -> None:
    """A palette image decodes to its colours; pillow writes one where it is installed."""
    pillow = pytest.importorskip("PIL.Image")
    file = pillow.fromarray(block(1), mode="P")
    file.putpalette([0, 0, 0, 128, 0, 0])
    file.save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), MARKED)


def test_a_one_bit_png_is_read(tmp_path: Path) -> None:
    done, data = cv2.imencode(".png", block(), [cv2.IMWRITE_PNG_BILEVEL, 1])
    assert done
    (tmp_path / "m.png").write_bytes(bytes(data))
    assert np.array_equal(read_mask(tmp_path / "m.png"), MARKED)
