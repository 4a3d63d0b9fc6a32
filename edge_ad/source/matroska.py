"""How many bytes a Matroska or WebM file lacks at its end (RFC 9559; EBML is RFC 8794).

FFmpeg ends such a file where its bytes end, without an error, so that a last frame can be missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def missing_bytes(path: Path) -> int:
    """Return the bytes that the file's only segment should have beyond its end.

    Returns 0 for another kind of file, and where the size was not known while recording.
    """
    with path.open("rb") as file:
        header = _element_bytes(file, _EBML)
        if header is None:
            return 0
        file.seek(header, 1)
        segment = _element_bytes(file, _SEGMENT)
        begin = file.tell()
        return max(0, begin + segment - file.seek(0, 2)) if segment is not None else 0


def _element_bytes(file: BinaryIO, name: bytes) -> int | None:
    """Read an element's name and size; None for another element or an unknown size."""
    if file.read(4) != name or not (first := file.read(1)) or not first[0]:
        return None
    length = 9 - first[0].bit_length()  # the place of the first 1 gives the size's length
    bits = 7 * length
    size = int.from_bytes(first + file.read(length - 1), "big") & ((1 << bits) - 1)
    return size if size < (1 << bits) - 1 else None
