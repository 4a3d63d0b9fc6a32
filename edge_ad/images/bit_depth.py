"""Reduce sensor values of 10 to 16 bits to the 8 that networks take.

A 16-bit file or frame rarely says how many of its bits the sensor fills, and a wrong guess makes an
image sixteen times too dark. So the depth is found once for a folder, or given, kept with the
engine, and every image is held to it.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError, IncompatibleError
from edge_ad.frame import Image, from_grey
from edge_ad.images.container import Container, header_of
from edge_ad.images.decode import StoredImage, read_stored
from edge_ad.quantiles import median

BIT_DEPTHS = (8, 10, 12, 14, 16)
_CERTAIN = 1 << 14  # a value from here on needs 16 bits
_FAR_APART = 8  # times the typical largest value: three bits
_GAP = 2.5  # between the largest values of sensors whose depths differ by two bits
_ALIKE = 1.15  # times, the share of their range that two sensors in the same light fill
_HEADER_BYTES = 1 << 16

_current: ContextVar[BitDepth | None] = ContextVar("bit depth", default=None)

ReadImage: TypeAlias = Callable[[Path], Image]


@dataclass(frozen=True, slots=True)
class BitDepth:
    """The bits that a sensor fills, and how they are known.

    A depth that was `given` counts more than what a file names.
    """

    bits: int
    origin: str = "given"
    given: bool = True

    def __str__(self) -> str:
        return f"{self.bits} bits ({self.origin})"


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Reads images of one bit depth: `reader(path)` is uint8 (H, W, 3) BGR.

    Raises DataError for an image of another depth, and what `read_image` raises.
    """

    depth: BitDepth

    def __call__(self, path: Path) -> Image:
        stored = read_stored(path)
        return _to_bgr8(stored, self.depth.bits, None if self.depth.given else stored.bit_depth)


def read_image(path: Path, bit_depth: int | None = None) -> Image:
    """Decode an image to uint8 (H, W, 3) BGR, upright.

    Grey becomes three equal channels. Values of 16 bits are shifted by `bit_depth`, that of
    `reading`, or the one that the file names. Raises DataError for a file that is missing,
    truncated or damaged, has transparent pixels or several images, whose depth is unknown or
    another, or whose pixels are of a type that no camera delivers.
    """
    depth = BitDepth(bit_depth) if bit_depth else _current.get()
    if depth is not None:
        return ImageReader(depth)(path)
    stored = read_stored(path)
    return _to_bgr8(stored, None, stored.bit_depth)


@contextmanager
def reading(depth: BitDepth) -> Iterator[None]:
    """Let `read_image` read all images with one depth in this block, in this thread."""
    token = _current.set(depth)
    try:
        yield
    finally:
        _current.reset(token)


def current_depth() -> BitDepth | None:
    """Return the depth of the innermost `reading` block, None outside."""
    return _current.get()


def to_bgr8(pixels: NDArray[Any], name: str, bit_depth: int | None = None) -> Image:
    """Convert a camera's array, BGR or grey, to uint8 (H, W, 3) BGR, without copying 8-bit values.

    The channels of a grey one share its plane, see `from_grey`. Raises DataError as `read_image`
    does.
    """
    values = _to_8_bits(StoredImage(pixels, name), bit_depth, None)
    return from_grey(values) if values.ndim == 2 else np.ascontiguousarray(values)


def agreed_depth(name: str, trained: int | None, given: int | None) -> BitDepth | None:
    """Return the depth to read images with: the given one, or that of the engine's training.

    None means that neither is known. An engine trained on 8-bit images takes any given depth, since
    `capture` saves frames of all sensors with 8 bits. Raises IncompatibleError when they contradict
    each other, with `name` for the engine.
    """
    if given is not None and trained in {None, 8, given}:
        return BitDepth(given)
    if given is None:
        return None if trained is None else BitDepth(trained, f"as {name} was trained", given=False)
    raise IncompatibleError(
        f"{name} was trained on {trained}-bit images, so a bit depth of {given} would show it "
        "other brightness. Omit it, or train again on images of this camera."
    )


def find_depth(paths: Sequence[Path], given: BitDepth | None = None) -> BitDepth:
    """Return the depth of a folder's images: given, named by the files, or that of their values.

    Raises DataError when files name different depths, or the values allow no answer.
    """
    if given is not None:
        return given
    headers = {path: _header(path) for path in paths}
    deep = [path for path, header in headers.items() if header.stored_bits > 8]
    if 2 * len(deep) < len(paths) or not deep:
        return BitDepth(8, "of the files", given=False)
    return _named_depth(headers, deep) or _depth_of_values(deep)


def _header(path: Path) -> Container:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return Container()
        with path.open("rb") as file:
            data = file.read(_HEADER_BYTES)
            if data[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:  # TIFF: its tags may be last
                data += file.read()
    except OSError:
        return Container()
    return header_of(data)


def _named_depth(headers: dict[Path, Container], deep: list[Path]) -> BitDepth | None:
    """Return the depth that the files name, None when at least one names none."""
    depths = {bits: path for path in deep if (bits := headers[path].bit_depth)}
    if len(depths) > 1:
        (one, first), (two, second) = sorted(depths.items())[:2]
        raise DataError(
            f"{first} has {one}-bit values and {second} {two}-bit ones; expected one depth. "
            "Separate the images by camera."
        )
    if not depths or any(headers[path].bit_depth is None for path in deep):
        return None
    if any(headers[path].format == "PNG" and _is_spread(path) for path in deep):
        return BitDepth(16, "of the files, which spread their values over 16 bits", given=False)
    return BitDepth(next(iter(depths)), "named by the files", given=False)


def _is_spread(path: Path) -> bool:
    try:
        return read_stored(path).bit_depth == 16
    except DataError:
        return False  # named when it is read


def _depth_of_values(paths: list[Path]) -> BitDepth:
    """Return the smallest usual depth that holds the values of all images."""
    largest = dict(_largest_values(paths))
    if not largest:
        return BitDepth(16, "no image can be read", given=False)
    brightest = max(largest, key=lambda path: largest[path])
    top, typical = largest[brightest], median(largest.values())
    if top < 256 or top >= _FAR_APART * max(1, typical):
        raise DataError(
            f"{brightest}: the sensor's bit depth is not clear: the largest value there is {top}, "
            f"of most of the {len(largest)} images {typical:g}. Name the depth with --bit-depth "
            "(10, 12, 14 or 16), or remove what another camera took."
        )
    bits = next(bits for bits in BIT_DEPTHS if top < 1 << bits)
    _check_one_sensor(largest, bits)
    origin = f"found: the largest value of {len(largest)} images is {top}"
    return BitDepth(bits, origin, given=False)


def _check_one_sensor(largest: dict[Path, int], bits: int) -> None:
    """Raise DataError when some images fill a smaller depth as the others fill `bits`."""
    paths = sorted(largest, key=lambda path: largest[path])
    for place in range(1, len(paths)):
        below, above = largest[paths[place - 1]], largest[paths[place]]
        if above < _GAP * max(1, below) or below < 256:
            continue
        fewer = next(bits for bits in BIT_DEPTHS if below < 1 << bits)
        low, high = paths[:place], paths[place:]
        share = _typical(largest, low) / (1 << fewer)
        ratio = share / (_typical(largest, high) / (1 << bits))
        if fewer < bits and 1 / _ALIKE < ratio < _ALIKE:
            raise DataError(
                f"{low[-1]}: the sensor's bit depth is not clear: {len(low)} of {len(paths)} "
                f"images fit a sensor of {fewer} bits (their largest value is {below}), the "
                f"others, such as {high[-1]}, one of {bits}. Separate the images by camera, or "
                "name the depth with --bit-depth."
            )


def _typical(largest: dict[Path, int], paths: list[Path]) -> float:
    return median([largest[path] for path in paths])


def _largest_values(paths: Iterable[Path]) -> Iterable[tuple[Path, int]]:
    for path in paths:
        try:
            pixels = read_stored(path).opaque()
        except DataError:
            continue  # named when it is read
        if pixels.dtype == np.uint16:
            yield path, int(pixels.max())


def _to_bgr8(stored: StoredImage, bit_depth: int | None, named: int | None) -> Image:
    values = _to_8_bits(stored, bit_depth, named)
    if values.ndim == 2:
        return np.asarray(cv2.cvtColor(values, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.ascontiguousarray(values)


def _to_8_bits(stored: StoredImage, bit_depth: int | None, named: int | None) -> NDArray[np.uint8]:
    """Return BGR (H, W, 3), or grey (H, W)."""
    pixels = stored.opaque()
    if pixels.dtype == np.uint16:
        pixels = _reduced(pixels, stored.name, bit_depth, named)
    elif pixels.dtype != np.uint8:
        raise DataError(
            f"{stored.name}: pixels are {pixels.dtype}, expected uint8 or uint16. Convert the "
            "image."
        )
    elif bit_depth not in {None, 8}:
        raise DataError(
            f"{stored.name}: pixels have 8 bits, expected {bit_depth} like the others. Save all "
            "images in one format."
        )
    return pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def _reduced(
    pixels: NDArray[Any], name: str, bit_depth: int | None, named: int | None
) -> NDArray[Any]:
    """Shift uint16 values of a known depth to 8 bits."""
    top = int(pixels.max())
    bits = bit_depth or named or (16 if top >= _CERTAIN else None)
    if bits is None or bits == 8:
        expected = "8 bits are expected" if bits else "the sensor's depth is not known"
        raise DataError(
            f"{name}: values have 16 bits (the largest is {top}), but {expected}. Name the "
            "sensor's depth with --bit-depth 10, 12, 14 or 16."
        )
    if named not in {None, bits}:
        raise DataError(
            f"{name}: the file names {named}-bit values, expected {bits} bits. Separate the images "
            "by camera, or name the depth with --bit-depth."
        )
    if top >= 1 << bits:
        raise DataError(
            f"{name}: a value of {top} does not fit the bit depth of {bits}, whose largest is "
            f"{(1 << bits) - 1}. Correct --bit-depth, or remove what another camera took."
        )
    return np.asarray(pixels >> (bits - 8), np.uint8)
