"""Read what an image file says about its pixels, and whether all of them are there.

OpenCV decodes the pixels, but fills in missing data without a word and ignores orientation. Pillow
reads the container and fails on incomplete data; for JPEG, libjpeg's own warnings decide, for PNG
its checksums.
"""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import simplejpeg

from edge_ad.errors import DataError
from edge_ad.images.png import checked_chunks

if TYPE_CHECKING:
    from PIL.Image import Image

_WITH_PAGES = frozenset({"AVIF", "GIF", "PNG", "TIFF", "WEBP"})
_UNDEFINED_COLOURS = frozenset({"CMYK", "LAB"})  # no single conversion to BGR without a profile
_OBEYED_BY_OPENCV = frozenset({"TIFF"})  # orientation
_JPEG = frozenset({"JPEG", "MPO"})
_ORIENTING = frozenset({b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp"})  # in a PNG
_PADDED = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_HUFFMAN_TABLES = b"\xff\xc4"
_STRAY_BYTES = 4
_THUMBNAIL = 1  # bit of TIFF's NewSubfileType: a page that repeats another at reduced size
_SUBFILE_TYPE, _BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE, _ORIENTATION = 254, 258, 281, 274
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_warnings = threading.Lock()  # Python's warning filters belong to all threads


@dataclass(frozen=True, slots=True)
class Container:
    """What the container says.

    `orientation` is EXIF's 1 to 8, 1 where OpenCV obeys it itself. `stored_bits` is the width of a
    value, `bit_depth` how many of them the sensor fills, None when unknown. `has_alpha` is None for
    a format that Pillow does not read. `size_hw` is that of the stored pixels, before orientation.
    """

    format: str = ""
    orientation: int = 1
    stored_bits: int = 8
    bit_depth: int | None = None
    has_alpha: bool | None = None
    transparent: bool = False
    size_hw: tuple[int, int] | None = None


def check_container(data: bytes, name: str) -> Container:
    """Return what a file's container says. Raises DataError when data is missing or ambiguous."""
    from PIL import Image as Pillow  # takes 3 MiB that a line with cameras does without
    from PIL import UnidentifiedImageError

    with _warnings, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of harmless metadata, and of large images
        try:
            image = Pillow.open(io.BytesIO(data))
        except (UnidentifiedImageError, Pillow.DecompressionBombError):
            return Container()  # OpenCV decides alone
        except Exception as error:  # Pillow's parsers raise many kinds on damaged headers
            raise _damaged(name, error) from error
        with image:
            return _checked(image, data, name)


def header_of(data: bytes) -> Container:
    """Return what the first bytes of a file say of its bit depth, without decoding it."""
    from PIL import Image as Pillow

    with _warnings, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Pillow.open(io.BytesIO(data)) as image:
                stored_bits, bit_depth = _depth(image, data)
                return Container(image.format or "", 1, stored_bits, bit_depth)
        except Exception:  # damage is reported when the file is read
            return Container()


def _checked(image: Image, data: bytes, name: str) -> Container:
    kind = image.format or ""
    try:
        if image.mode in _UNDEFINED_COLOURS:
            raise DataError(
                f"its colours are {image.mode}, expected grey or RGB. Convert the image to RGB."
            )
        if kind in _WITH_PAGES and (pages := _pages(image)) > 1:
            raise DataError(
                f"the file holds {pages} images, expected one. Save each as its own file."
            )
        orients = _check_complete(image, data) and kind not in _OBEYED_BY_OPENCV
        orientation = image.getexif().get(_ORIENTATION, 1) if orients else 1
        has_alpha = "A" in image.getbands() or "a" in image.getbands()
        has_alpha = has_alpha or "transparency" in image.info
        transparent = has_alpha and _is_transparent(image)
        stored_bits, bit_depth = _depth(image, data)
        size_hw = (image.height, image.width)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ...
        if "not available" in str(error):  # a compression that only OpenCV knows
            return Container(kind)
        raise _damaged(name, error) from error
    valid = orientation if orientation in range(1, 9) else 1
    return Container(kind, valid, stored_bits, bit_depth, has_alpha, transparent, size_hw)


def _damaged(name: str, error: Exception) -> DataError:
    return DataError(
        f"{name}: the image is truncated or damaged ({error or type(error).__name__}). "
        "Copy it again."
    )


def _check_complete(image: Image, data: bytes) -> bool:
    """Raise the decoder's complaint about missing or damaged data.

    Returns whether the file may name an orientation: Pillow decodes a PNG to look for it.
    """
    if image.format == "PNG":
        return bool(checked_chunks(data) & _ORIENTING)
    if image.format not in _JPEG:
        image.load()
    elif damage := jpeg_damage(data):
        raise ValueError(damage)
    return True


def jpeg_damage(data: bytes) -> str:
    """Return libjpeg's complaint about a JPEG, or an empty string.

    Zeros before the end marker are padding, and so are a few other bytes, which webcams leave.
    """
    try:
        colours = simplejpeg.decode_jpeg_header(data)[2]
        grey = "RGB" if colours == "RGB" else "GRAY"
        # an eighth of the size: every coefficient is parsed, few are transformed
        simplejpeg.decode_jpeg(data, grey, min_height=1, min_width=1, strict=True)
    except ValueError as error:
        match = _PADDED.search(str(error))
        few = match is not None and int(match[1]) <= _STRAY_BYTES
        padded = match is not None and b"\0" * int(match[1]) + b"\xff\xd9" in data
        return "" if few or padded else str(error)
    return ""


def motion_jpeg_damage(data: bytes) -> str:
    """Return libjpeg's complaint about a JPEG of a video, which is stricter than FFmpeg's.

    Many recorders and cameras leave out the standard Huffman tables; those are not checked here.
    """
    return jpeg_damage(data) if _HUFFMAN_TABLES in data else ""


def _pages(image: Any) -> int:
    """Count the images in a file, without a TIFF's thumbnails."""
    count: int = getattr(image, "n_frames", 1)
    if count == 1 or image.format != "TIFF":
        return count
    kinds = []
    for page in range(count):
        image.seek(page)
        kinds.append(image.tag_v2.get(_SUBFILE_TYPE, 0))
    image.seek(0)
    return sum(1 for kind in kinds if not kind & _THUMBNAIL)


def _is_transparent(image: Image) -> bool:
    lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
    return int(lowest) < 255  # type: ignore[arg-type]


def _depth(image: Any, data: bytes) -> tuple[int, int | None]:
    """Return the bits of a stored value, and how many of them are used where the file says so.

    A full range is the default of writers and says nothing of the sensor.
    """
    if image.format == "PNG":
        return data[24], _significant_bits(data) if data[24] == 16 else None
    if image.format == "TIFF":
        return _tiff_depth(image)
    if image.format == "PPM":
        return _pnm_depth(data)
    if image.format == "JPEG2000":
        return _below_16(_jpeg2000_bits(data))
    return 8, None


def _below_16(bits: int) -> tuple[int, int | None]:
    return (bits, None) if bits <= 8 else (16, bits if bits < 16 else None)


def _tiff_depth(image: Any) -> tuple[int, int | None]:
    bits = max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,)))
    if 8 < bits < 16:
        return 16, 16  # OpenCV spreads packed values over 16 bits
    if bits > 8 and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        raise DataError(  # OpenCV turns values of 8 bits round, and leaves others as they are
            "its values count down from white (WhiteIsZero), expected up from black. "
            "Convert the image."
        )
    largest = image.tag_v2.get(_MAX_SAMPLE_VALUE, (0,))
    largest = max(largest) if isinstance(largest, tuple) else largest
    if bits == 16 and 0 < largest < 0xFFFF:
        return 16, int(largest).bit_length()
    return bits, None


def _significant_bits(data: bytes) -> int | None:
    """Return the largest value of a PNG's sBIT chunk, which precedes the pixels."""
    place = 8
    while place + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == b"sBIT":
            return max(data[place + 8 : place + 8 + min(3, length)], default=None)
        if kind == b"IDAT":
            return None
        place += 12 + length
    return None


def _pnm_depth(data: bytes) -> tuple[int, int | None]:
    """Return the depth by a PGM's or PPM's largest value, to which OpenCV scales nothing."""
    words = re.sub(rb"#[^\n]*", b" ", data[:4096]).split(maxsplit=4)
    if words[0] not in {b"P2", b"P3", b"P5", b"P6"}:
        return 8, None
    largest = int(words[3])
    if largest < 255:
        raise DataError(
            f"its header names {largest} as the largest value, expected 255 or more. "
            "Convert the image."
        )
    return _below_16(largest.bit_length())


def _jpeg2000_bits(data: bytes) -> int:
    """Return the precision of the first component, from the SIZ marker."""
    place = data.find(b"\xff\x4f\xff\x51")
    return (data[place + 42] & 0x7F) + 1 if place >= 0 else 8
