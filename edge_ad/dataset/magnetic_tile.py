"""The magnetic-tile data set as published: MT_<type>/Imgs with photos (.jpg) and masks (.png)."""

from __future__ import annotations

from pathlib import Path

from edge_ad.dataset.folders import child, folders_in, images_in, pair, unread_in
from edge_ad.dataset.kolektor_sdd import NO_SPLIT
from edge_ad.dataset.layout import Layout
from edge_ad.dataset.sample import NORMAL, Fault, Listing, Sample


def _places(folder: Path) -> list[tuple[str, Path]]:
    named = [(path.name.lower(), child(path, "imgs")) for path in folders_in(folder)]
    return [(name[3:], images) for name, images in named if name[:3] == "mt_" and images]


def _read(folder: Path) -> Listing:
    samples: list[Sample] = []
    faults: list[Fault] = []
    left_out: list[Path] = []
    for name, place in _places(folder):
        kind = NORMAL if name == "free" else name
        files = images_in(place)
        photos = [path for path in files if path.suffix.lower() != ".png"]
        masks = [(path.stem, path) for path in files if path.suffix.lower() == ".png"]
        pairs = pair(photos, masks)
        samples += [Sample(path, kind, pairs.masks.get(path, ())) for path in photos]
        faults += pairs.faults
        faults += [Fault(p, "no mask of its name") for p in photos if p not in pairs.masks]
        left_out += unread_in(place)
    return Listing(
        train=tuple(sample.path for sample in samples if sample.kind == NORMAL),
        samples=tuple(sorted(samples, key=lambda s: (s.anomalous, s.kind, s.path))),
        faults=tuple(faults),
        left_out=tuple(left_out),
        notes=(NO_SPLIT,),
    )


MAGNETIC_TILE = Layout(
    name="magnetic-tile",
    title="Magnetic tile",
    tree="MT_Free/Imgs/<image>.jpg and <image>.png (its mask), MT_Crack/Imgs/..., MT_Fray/Imgs/...",
    matches=lambda folder: bool(_places(folder)),
    read=_read,
)
