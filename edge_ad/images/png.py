"""Check that a PNG is complete without decoding it.

Every chunk ends with a checksum (PNG 3, 5.3), and OpenCV decodes all rows or none. Decoding a
second time to find out would double the time that reading takes.
"""

from __future__ import annotations

import struct
import zlib

_SIGNATURE, _FRAME = 8, 12  # bytes before the first chunk; of a chunk's length, type and checksum
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})


def checked_chunks(data: bytes) -> set[bytes]:
    """Return the types of a PNG's chunks, of those that hold text the keyword.

    Raises ValueError for one whose checksum does not fit, and for data that end before `IEND`.
    """
    kinds: set[bytes] = set()
    position, view = _SIGNATURE, memoryview(data)
    while b"IEND" not in kinds:
        if position + _FRAME > len(data):
            raise ValueError("its end is missing")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + _FRAME + length
        if end > len(data):
            raise ValueError(f"it ends within its {_shown(kind)} chunk")
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(view[position + 4 : end - 4]) != checksum:
            raise ValueError(f"the checksum of its {_shown(kind)} chunk does not fit")
        content = bytes(view[position + 8 : min(position + 88, end - 4)])  # a keyword's 79 bytes
        kinds.add(content.partition(b"\0")[0] if kind in _TEXTS else kind)
        position = end
    return kinds


def _shown(kind: bytes) -> str:
    return kind.decode("ascii", "replace")
