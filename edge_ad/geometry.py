"""Which part of a frame is judged, and in how many tiles; it travels with the artefact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

FARTHEST_PX = 1_000_000  # a corner may lie outside the frame, but drawing it must not overflow
Length = Annotated[int, Field(ge=-FARTHEST_PX, le=FARTHEST_PX)]
Point = tuple[Length, Length]
Polygon = Annotated[tuple[Point, ...], Field(min_length=3)]
Rect = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)],
             Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]  # fmt: skip
Count = Annotated[int, Field(ge=1, le=64)]


class Geometry(BaseModel):
    """Region of interest, ignored polygons and tiling, in frame pixels.

    `tiles` counts (rows, columns); neighbours share `overlap` of a tile's side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    roi_xywh: Rect | None = None
    ignore: tuple[Polygon, ...] = ()
    tiles: tuple[Count, Count] = (1, 1)
    overlap: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0

    def changed(self, parts: Mapping[str, Any]) -> Geometry:
        """The same geometry with some parts replaced, and checked again."""
        return Geometry.model_validate({**self.model_dump(), **parts})

    @property
    def tile_count(self) -> int:
        return self.tiles[0] * self.tiles[1]

    def flags(self, base: Geometry) -> list[str]:
        """The command-line words that make this geometry of `base`."""
        theirs, words = base._words(), list[str]()
        for flag, values in self._words().items():
            if values != theirs[flag]:
                words += [word for value in values for word in (flag, value)]
        return words

    def differences(self, wanted: Geometry) -> list[str]:
        """What tells this geometry from the wanted one, one clause a part; empty when nothing."""
        theirs = wanted._words()
        return [
            f"{flag} expected {_told(theirs[flag])}, got {_told(values)}"
            for flag, values in self._words().items()
            if values != theirs[flag]
        ]

    def _words(self) -> dict[str, tuple[str, ...]]:
        """The options that say it; polygons in any order are the same, one tile has no overlap."""
        polygons = (" ".join(f"{x},{y}" for x, y in polygon) for polygon in self.ignore)
        return {
            "--roi": (",".join(map(str, self.roi_xywh)),) if self.roi_xywh else (),
            "--ignore": tuple(sorted(polygons)),
            "--tiles": (f"{self.tiles[0]}x{self.tiles[1]}",),
            "--overlap": (str(self.overlap),) if self.tile_count > 1 else (),
        }


def _told(values: tuple[str, ...]) -> str:
    return " and ".join(values) or "none"
