"""Which layout a folder has, by its structure."""

from __future__ import annotations

import difflib
from pathlib import Path

from edge_ad.dataset.btad import BTAD
from edge_ad.dataset.folders import folders_in
from edge_ad.dataset.kolektor_sdd import KOLEKTOR_SDD
from edge_ad.dataset.kolektor_sdd2 import KOLEKTOR_SDD2
from edge_ad.dataset.layout import Layout
from edge_ad.dataset.magnetic_tile import MAGNETIC_TILE
from edge_ad.dataset.mvtec import MVTEC
from edge_ad.dataset.mvtec_loco import MVTEC_LOCO
from edge_ad.dataset.plain import PLAIN
from edge_ad.dataset.visa import VISA, header_problem
from edge_ad.errors import DataError, UsageError

# The first that matches is taken: those with a stricter structure come first.
LAYOUTS = (MVTEC_LOCO, BTAD, MVTEC, KOLEKTOR_SDD2, VISA, MAGNETIC_TILE, PLAIN, KOLEKTOR_SDD)


def layout_named(name: str) -> Layout:
    """Return a layout by its name. Raises UsageError with the nearest one for another name."""
    known = {key: layout for layout in LAYOUTS for key in (layout.name, *layout.aliases)}
    if layout := known.get(name.lower()):
        return layout
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise UsageError(
        f"--layout {name}: no such layout.{hint} Known are "
        f"{', '.join(layout.name for layout in LAYOUTS)}."
    )


def recognise(folder: Path, name: str | None = None) -> Layout | None:
    """Return the layout that `folder` has, None for another structure.

    Raises DataError when it has not the one that is named.
    """
    if name is None:
        return next((layout for layout in LAYOUTS if layout.matches(folder)), None)
    layout = layout_named(name)
    if not layout.matches(folder):
        raise DataError(f"{folder}: not in {layout.title}'s layout. Expected {layout.tree}")
    return layout


def require(folder: Path, name: str | None = None) -> Layout:
    """Return the layout of a folder of labelled images. Raises DataError without one."""
    layout = recognise(folder, name)
    if layout is PLAIN and name is None and folder.name.lower() == "test":
        if whole := recognise(folder.absolute().parent):
            raise DataError(
                f"{folder}: the test part of a data set in {whole.title}'s layout, without its "
                f"masks. Name the whole: {folder.parent}"
            )
    if layout:
        return layout
    if sets := [place.name for place in folders_in(folder) if recognise(place)]:
        if len(sets) == 1:
            raise DataError(f"{folder}: holds a data set. Name that: {folder / sets[0]}")
        shown = ", ".join(sets[:10]) + (" ..." if len(sets) > 10 else "")
        raise DataError(
            f"{folder}: holds {len(sets)} data sets ({shown}), and a detector knows one. Name "
            f"one, for example {folder / sets[0]}"
        )
    if problem := header_problem(folder):
        raise DataError(problem)
    trees = "; ".join(f"{layout.title} ({layout.name}): {layout.tree}" for layout in LAYOUTS)
    raise DataError(
        f"{folder}: not a layout of labelled images that edge-ad knows. Rename the folders to one "
        f"of these: {trees}"
    )
