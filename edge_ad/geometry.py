"""The part of a frame that is judged, and its tiles; stored in every artefact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from edge_ad.stored import Stored

FARTHEST_PX = 1_000_000  # a corner may lie outside the frame, but drawing it must not overflow
Length = Annotated[int, Meta(ge=-FARTHEST_PX, le=FARTHEST_PX)]
Point = tuple[Length, Length]
Polygon = Annotated[tuple[Point, ...], Meta(min_length=3)]
Rect = tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)],
             Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]]  # fmt: skip
Count = Annotated[int, Meta(ge=1, le=64)]
Side = Annotated[int, Meta(ge=1, le=FARTHEST_PX)]
Shrink = Literal["area", "bilinear"]


class Geometry(Stored, frozen=True, kw_only=True):
    """Region of interest, ignored polygons and tiling, in frame pixels, and how tiles shrink.

    `tiles` counts (rows, columns); neighbours share `overlap` of a tile's side. `shrink` is fixed
    when a detector is trained or imported, so no option of a line changes it. `frame_wh` is the
    size of the frames whose pixels the region and the polygons count, None where it is unknown:
    in a frame of another size they would lie elsewhere.
    """

    roi_xywh: Rect | None = None
    ignore: tuple[Polygon, ...] = ()
    tiles: tuple[Count, Count] = (1, 1)
    overlap: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.0
    shrink: Shrink = "area"
    frame_wh: tuple[Side, Side] | None = None

    def changed(self, parts: Mapping[str, Any]) -> Geometry:
        """Return a copy with some parts replaced. Raises StoredError for invalid parts.

        The size of frames that another region or other polygons are for is unknown.
        """
        known = {} if {"roi_xywh", "ignore"}.isdisjoint(parts) else {"frame_wh": None}
        return Geometry.from_dict({**self.to_dict(), **known, **parts})

    @property
    def counts_pixels(self) -> bool:
        """Whether it is right for frames of one size only."""
        return self.roi_xywh is not None or bool(self.ignore)

    @property
    def tile_count(self) -> int:
        """Number of tiles, which is the engine's batch for one frame."""
        return self.tiles[0] * self.tiles[1]

    def flags(self, base: Geometry) -> list[str]:
        """Return the command-line options that change `base` to this geometry."""
        base_options, arguments = base._options(), list[str]()
        for flag, values in self._options().items():
            if values != base_options[flag]:
                arguments += [argument for value in values for argument in (flag, value)]
        return arguments

    def differences(self, expected: Geometry) -> list[str]:
        """Return one clause for each part that differs from `expected`."""
        expected_options = expected._options()
        return [
            f"{flag} expected {_join(expected_options[flag])}, got {_join(values)}"
            for flag, values in self._options().items()
            if values != expected_options[flag]
        ]

    def _options(self) -> dict[str, tuple[str, ...]]:
        """Return option values. The order of polygons is irrelevant; one tile has no overlap."""
        polygons = (" ".join(f"{x},{y}" for x, y in polygon) for polygon in self.ignore)
        return {
            "--roi": (",".join(map(str, self.roi_xywh)),) if self.roi_xywh else (),
            "--ignore": tuple(sorted(polygons)),
            "--tiles": (f"{self.tiles[0]}x{self.tiles[1]}",),
            "--overlap": (str(self.overlap),) if self.tile_count > 1 else (),
        }


def _join(values: tuple[str, ...]) -> str:
    return " and ".join(values) or "none"
