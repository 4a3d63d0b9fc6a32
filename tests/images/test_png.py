"""PNG files are checked without decoding them twice, and nothing damaged is read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import PngImagePlugin

from edge_ad.errors import DataError
from edge_ad.images import read_image, upright_size, write_image

HW = (6, 9)
IMAGE = np.random.default_rng(0).integers(0, 256, (*HW, 3), np.uint8)
TURNED = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"  # EXIF: orientation 6
XMP = b'XML:com.adobe.xmp\0\0\0\0\0<a xmlns:tiff="b" tiff:Orientation="6"/>'


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def _png(
    tmp_path: Path,
    change: Callable[[bytes], bytes] = bytes,
    *,
    before: bytes = b"",
    after: bytes = b"",
) -> Path:
    """Write IMAGE, with chunks before and after its pixels, and its compressed rows changed."""
    rows = IMAGE[:, :, ::-1]  # RGB
    packed = change(zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", HW[1], HW[0], 8, 2, 0, 0, 0))
    parts = (header, before, _chunk(b"IDAT", packed), after, _chunk(b"IEND", b""))
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def test_a_png_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _png(tmp_path, before=_chunk(b"tEXt", b"Software\0x"))
    monkeypatch.delattr(PngImagePlugin.PngImageFile, "load_prepare")  # Pillow cannot decode
    assert np.array_equal(read_image(path), IMAGE) and upright_size(path) == HW


def test_a_png_cut_anywhere_or_with_any_byte_changed_is_refused(tmp_path: Path) -> None:
    path = _png(tmp_path)
    data = path.read_bytes()
    for place in range(8, len(data), 11):
        for damaged in (data[:place], data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=r"a\.png"):
                read_image(path)


@pytest.mark.parametrize(
    "change", [lambda d: d[: len(d) // 2], lambda d: d[:-1] + b"\0", lambda d: b"", lambda d: d[:2]]
)
def test_pixels_that_do_not_decompress_are_refused_though_checksums_fit(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(DataError, match=r"a\.png"):
        read_image(_png(tmp_path, change))


def test_bytes_behind_the_end_are_no_damage(tmp_path: Path) -> None:
    path = _png(tmp_path)
    path.write_bytes(path.read_bytes() + b"padding")
    assert np.array_equal(read_image(path), IMAGE)


@pytest.mark.parametrize("chunk", [_chunk(b"eXIf", TURNED), _chunk(b"iTXt", XMP)])
@pytest.mark.parametrize("place", ["before", "after"])
def test_an_orientation_is_obeyed_wherever_it_stands(
    tmp_path: Path, chunk: bytes, place: str
) -> None:
    first, last = (chunk, b"") if place == "before" else (b"", chunk)
    path = _png(tmp_path, before=first, after=last)
    assert np.array_equal(read_image(path), np.rot90(IMAGE, -1)) and upright_size(path) == HW[::-1]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
def test_the_size_is_that_of_the_decoded_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, IMAGE)
    assert upright_size(path) == read_image(path).shape[:2] == HW
