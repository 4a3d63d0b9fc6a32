"""Notice frames of an H.264 stream that never arrived.

A camera on a poor network leaves encoded frames out, and so does UDP. FFmpeg puts the frame before
in the place of one that is missing and decodes on without a complaint: up to the next key frame,
images hold what the lost one would have replaced. The numbers of frames in the stream (ITU-T H.264,
7.4.3, frame_num) have a gap there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

_log = logging.getLogger(__name__)
_SLICE, _KEY_SLICE, _SPS = 1, 5, 7  # kinds of NAL units
_OF_A_FILE = b"\1"  # how the extradata of MP4 and Matroska begin
_HEAD_BYTES = 32  # of a slice: more than its first four fields take
_WITH_CHROMA = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_TRIED = 20  # frames, of which half have a gap: such numbers are no numbers


class FrameNumbers:
    """Compares the number of each frame with the one before, in Annex B streams (RTSP, MPEG-TS).

    `extradata` is what the stream says of itself ahead of its frames. Files such as MP4 separate
    NAL units otherwise, and lose none: there it finds no gap.
    """

    def __init__(self, name: str, extradata: bytes | None = None) -> None:
        self._name = name
        self._bits, self._cycle = 0, 0  # of a number, and what it is counted modulo
        self._last: int | None = None  # number of the last frame that others may depend on
        self._frames = self._gaps = 0
        self._believed = extradata is None or not extradata.startswith(_OF_A_FILE)
        for unit in _units(extradata or b""):
            self._read_sps(unit)

    def have_gap(self, packet: bytes) -> bool:
        """Return whether a frame is missing between the last packet and this one."""
        if not self._believed:
            return False
        for unit in _units(packet):
            if unit[0] & 31 == _SPS:
                self._read_sps(unit)
            elif unit[0] & 31 in (_SLICE, _KEY_SLICE):
                return self._cycle > 0 and self._follows_gap(unit) and self._is_believed()
        return False

    def _read_sps(self, unit: bytes) -> None:
        if unit[0] & 31 != _SPS:
            return
        try:
            bits, may_have_gaps = _numbering(_Bits(unit[1:]))
        except IndexError:
            return
        self._bits, self._cycle = bits, 0 if may_have_gaps else 1 << bits

    def _follows_gap(self, unit: bytes) -> bool:
        head = _Bits(unit[1:_HEAD_BYTES])
        for _ in range(3):  # first macroblock, kind of slice, parameter set
            head.count()
        number, last = head.take(self._bits), self._last
        if unit[0] & 31 == _KEY_SLICE:
            last = None
        if unit[0] & 0x60 or last is None:
            self._last = number
        self._frames += 1
        return last is not None and number not in (last, (last + 1) % self._cycle)

    def _is_believed(self) -> bool:
        """Count a gap; return whether these are few enough to believe in them."""
        self._gaps += 1
        if self._frames >= _TRIED and self._gaps * 2 > self._frames:
            self._believed = False
            _log.warning(
                "%s: the camera numbers its frames against the standard (H.264), so that lost ones "
                "go unnoticed",
                self._name,
            )
        return self._believed


class _Bits:
    """Reads the bits of a NAL unit. Raises IndexError beyond its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data.replace(b"\0\0\3", b"\0\0")  # it prevents false start codes
        self._at = 0

    def take(self, count: int) -> int:
        """Return the next `count` bits as a number."""
        value = 0
        for _ in range(count):
            bit = self._data[self._at >> 3] >> (7 - (self._at & 7)) & 1
            value, self._at = value << 1 | bit, self._at + 1
        return value

    def count(self) -> int:
        """Return the next Exp-Golomb code, without a sign."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _units(data: bytes) -> Iterator[bytes]:
    """Yield the NAL units of an Annex B stream, from their first byte on to the packet's end."""
    at = data.find(b"\0\0\1")
    while 0 <= at < len(data) - 3:
        at += 3
        yield data[at : at + 1024]
        at = data.find(b"\0\0\1", at)


def _numbering(sps: _Bits) -> tuple[int, bool]:
    """Return how many bits the number of a frame has, and whether numbers may have gaps."""
    profile = sps.take(24) >> 16
    sps.count()  # its own number
    if profile in _WITH_CHROMA:
        _skip_chroma(sps)
    bits = sps.count() + 4
    order = sps.count()
    if order == 0:
        sps.count()
    elif order == 1:
        sps.take(1)
        for _ in range(2):
            sps.count()
        for _ in range(sps.count()):
            sps.count()
    sps.count()  # reference frames
    return bits, bool(sps.take(1))


def _skip_chroma(sps: _Bits) -> None:
    chroma = sps.count()
    if chroma == 3:
        sps.take(1)
    for _ in range(2):  # depths of brightness and colour
        sps.count()
    sps.take(1)
    if sps.take(1):
        for index in range(12 if chroma == 3 else 8):
            if sps.take(1):
                _skip_scaling(sps, 16 if index < 6 else 64)


def _skip_scaling(sps: _Bits, size: int) -> None:
    scale = 8
    for _ in range(size):
        code = sps.count()
        scale = (scale + ((code + 1) // 2 if code % 2 else -(code // 2))) % 256
        if scale == 0:
            return
