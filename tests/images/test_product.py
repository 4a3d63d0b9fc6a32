"""Every container x bit depth x orientation x alpha: the same pixels, or a refusal by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.images import read_image
from tests.images.files import LOSSLESS, encoded, stored_as, with_chunk

SHAPES = st.tuples(st.integers(8, 20), st.integers(8, 20))
ORIENTATIONS = st.integers(1, 8)
SEEDS = st.integers(0, 1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


def written(folder: Path, kind: str, data: bytes) -> Path:
    path = folder / f"part.{kind.lower()}"
    path.write_bytes(data)
    return path


def noise(shape: tuple[int, ...], seed: int, top: int = 255) -> NDArray[Any]:
    values = np.random.default_rng(seed).integers(0, top + 1, shape)
    return values.astype(np.uint8 if top < 256 else np.uint16)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(LOSSLESS),
    shape=SHAPES,
    orientation=ORIENTATIONS,
    channels=st.sampled_from(["grey", "rgb", "opaque", "transparent"]),
    seed=SEEDS,
)
def test_eight_bits(
    folder: Path, kind: str, shape: tuple[int, int], orientation: int, channels: str, seed: int
) -> None:
    rgb = noise((*shape, 3), seed)
    if channels == "grey":
        rgb[:] = rgb[:, :, :1]
    pixels = rgb[:, :, 0] if channels == "grey" and kind != "WEBP" else rgb
    if channels in {"opaque", "transparent"}:
        alpha = np.full(shape, 255, np.uint8)
        alpha[-1, -1] -= channels == "transparent"
        pixels = np.dstack([rgb, alpha])
    path = written(folder, kind, encoded(stored_as(pixels, orientation), kind, orientation))
    if channels == "transparent":
        with pytest.raises(DataError, match=rf"{path}: some pixels are transparent"):
            read_image(path)
        return
    np.testing.assert_array_equal(read_image(path), rgb[:, :, ::-1])


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "TIFF"]),
    bits=st.sampled_from([10, 12, 14, 16]),
    shape=SHAPES,
    orientation=ORIENTATIONS,
    seed=SEEDS,
)
def test_sixteen_bits_of_a_given_depth(
    folder: Path, kind: str, bits: int, shape: tuple[int, int], orientation: int, seed: int
) -> None:
    values = noise(shape, seed, (1 << bits) - 1)
    values[0, 0] = (1 << bits) - 1
    path = written(folder, kind, encoded(stored_as(values, orientation), kind, orientation))
    grey = (values >> (bits - 8)).astype(np.uint8)
    np.testing.assert_array_equal(read_image(path, bits), grey[:, :, None].repeat(3, 2))
    for other in {10, 12, 14} - {bits}:
        if other < bits:
            with pytest.raises(DataError, match=rf"{path}: a value of .* bit depth of {other}"):
                read_image(path, other)
    with pytest.raises(DataError, match=f"{path}: values have 16 bits"):
        read_image(path, 8)


@settings(max_examples=40, deadline=None)
@given(
    orientation=ORIENTATIONS, alpha=st.sampled_from([None, 65535, 65534]), shape=SHAPES, seed=SEEDS
)
def test_sixteen_bit_colour_png(
    folder: Path, orientation: int, alpha: int | None, shape: tuple[int, int], seed: int
) -> None:
    bgr = noise((*shape, 3), seed, 65535)
    pixels = bgr if alpha is None else np.dstack([bgr, np.full(shape, alpha, np.uint16)])
    data = cv2.imencode(".png", stored_as(pixels, orientation))[1].tobytes()
    exif = encoded(np.zeros((2, 2), np.uint8), "PNG", orientation)
    place = exif.index(b"eXIf")
    length = int.from_bytes(exif[place - 4 : place], "big")
    path = written(folder, "PNG", with_chunk(data, b"eXIf", exif[place + 4 : place + 4 + length]))
    if alpha == 65534:
        with pytest.raises(DataError, match="transparent"):
            read_image(path, 16)
        return
    np.testing.assert_array_equal(read_image(path, 16), (bgr >> 8).astype(np.uint8))


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(["JPEG", "AVIF"]), orientation=ORIENTATIONS)
def test_lossy_containers_obey_orientation(folder: Path, kind: str, orientation: int) -> None:
    upright = np.full((48, 80, 3), 40, np.uint8)
    upright[:16, :32] = 220  # in one corner only, so that no two orientations look the same
    data = encoded(stored_as(upright, orientation), kind, orientation, quality=95)
    image = read_image(written(folder, kind, data)).astype(int)
    assert image.shape == upright.shape
    assert np.abs(image - upright).mean() < 3


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF"]),
    kept=st.floats(0.02, 0.9),
    seed=SEEDS,
)
def test_a_part_of_a_file_is_refused_by_name(
    folder: Path, kind: str, kept: float, seed: int
) -> None:
    data = encoded(noise((40, 56, 3), seed), kind)
    path = written(folder, kind, data[: int(len(data) * kept)])
    with pytest.raises(DataError, match=str(path)):
        read_image(path)


@pytest.mark.parametrize("mode", ["1", "P", "L", "RGB"])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_modes_without_alpha_read_as_pillow_reads_them(folder: Path, kind: str, mode: str) -> None:
    from PIL import Image as Pillow

    if (kind, mode) in {("PPM", "P"), ("GIF", "RGB")}:
        pytest.skip("not a mode of this container")
    image = Pillow.fromarray(noise((16, 24, 3), 3)).convert(mode)
    path = folder / f"mode-{mode}.{kind.lower()}"
    image.save(path, kind)
    np.testing.assert_array_equal(read_image(path), np.asarray(image.convert("RGB"))[:, :, ::-1])


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("LAB", "TIFF")])
def test_colours_without_a_single_conversion_are_refused(
    folder: Path, mode: str, kind: str
) -> None:
    from PIL import Image as Pillow

    path = folder / f"{mode}.{kind.lower()}"
    Pillow.fromarray(noise((16, 24, 3), 3)).convert("RGB").convert(
        mode if mode == "CMYK" else "RGB"
    ).save(path, kind) if mode == "CMYK" else Pillow.new("LAB", (24, 16)).save(path, kind)
    with pytest.raises(DataError, match=f"{path}: its colours are {mode}"):
        read_image(path)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "WEBP"])
def test_a_file_of_several_images_is_refused(folder: Path, kind: str) -> None:
    from PIL import Image as Pillow

    pages = [Pillow.fromarray(noise((16, 24, 3), seed)) for seed in range(3)]
    path = folder / f"several.{kind.lower()}"
    pages[0].save(path, kind, save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="the file holds 3 images"):
        read_image(path)
