"""Which part of a frame is judged, and in how many tiles; it travels with the artefact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Point = tuple[int, int]
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
