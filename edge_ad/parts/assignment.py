"""Decide which images show the same part, and remember how it was decided."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from functools import partial
from pathlib import Path
from statistics import median

from edge_ad.errors import DataError
from edge_ad.files import readable
from edge_ad.geometry import Geometry
from edge_ad.images import read_image
from edge_ad.images.bit_depth import ReadImage
from edge_ad.parts import names
from edge_ad.parts.listed import TABLE, from_capture, from_table
from edge_ad.parts.reading import Looked, look
from edge_ad.parts.recognition import Recognition

_ALIKE = (
    "the images are too alike to tell parts apart, so they count as images of one part. If they "
    "show several, give the part in the file names with --part-id, or list image and part in "
    "parts.csv; if each shows another part, give --parts-from each."
)
_LARGE = 10  # images of a sub-folder, from which it may hold those of many parts
_BY_FOLDER = (
    "each sub-folder counts as one part, and half of them hold {median:g} images or more. If they "
    "hold images of many parts, like one for each day or shift, give --parts-from images, or "
    "--parts-from each if each image shows another part."
)
_UNRECOGNISED = (
    "parts cannot be distinguished by their looks here: {recognised} of {tried} simulated second "
    "exposures were recognised."
)
_TURNED = (
    "parts lie at any angle here, and a part that was turned between two images is not recognised."
)
_UPPER_BOUND = (
    "{why} So {parts} parts is an upper bound: images of one part may count as several. Say which "
    "images show one part, with --part-id, parts.csv or a sub-folder for each part; if each image "
    "shows another part, give --parts-from each."
)
_RECORDED = (
    "images that follow each other look alike, as frames of a recording do, so they count as "
    "images of one part for as long as they do. Give the part in the file names with --part-id, or "
    "list image and part in parts.csv; if each image shows another part, give --parts-from each."
)


class How(str, Enum):
    """What decided which images show the same part."""

    PART_ID = "part-id"
    TABLE = "table"
    CAPTURE = "capture"
    FOLDERS = "folders"
    NAMES = "names"
    IMAGES = "images"
    EACH = "each"


@dataclass(frozen=True, slots=True)
class PartAssignment:
    """The part of every image, in the order of the images.

    Names of parts are text: bytes of a file name that are not UTF-8 are escaped.
    `detail` tells the user the pattern or file that decided. `rule` is the same for another folder
    whose parts have the same names, and empty where names mean nothing beyond this folder.
    `left_out` are images whose part is unknown, with the reason; they belong to no set. `doubt`, if
    not empty, says why the parts may be wrong and what to do. `recognition` says whether the images
    tell parts apart, where they alone decided.
    """

    parts: dict[Path, str]
    how: How
    detail: str = ""
    left_out: dict[Path, str] = field(default_factory=dict)
    doubt: str = ""
    rule: str = ""
    recognition: Recognition | None = None

    @property
    def is_upper_bound(self) -> bool:
        """Return whether there may be fewer parts, since looks do not tell them apart."""
        unreliable = self.recognition is not None and not self.recognition.is_reliable
        return unreliable and len(set(self.parts.values())) > 1

    def __post_init__(self) -> None:
        parts = {path: readable(part) for path, part in self.parts.items()}
        object.__setattr__(self, "parts", parts)

    def groups(self) -> dict[str, list[Path]]:
        """Return the images of each part, parts in the order of their first image."""
        groups: dict[str, list[Path]] = {}
        for path, part in self.parts.items():
            groups.setdefault(part, []).append(path)
        return groups


def assign_parts(
    paths: Iterable[Path],
    *,
    part_id: str | None = None,
    root: Path | None = None,
    how: How | None = None,
    among: Sequence[How] = tuple(How),
    geometry: Geometry | None = None,
    read: ReadImage = read_image,
) -> PartAssignment:
    """Decide the part of each image.

    By `part_id`, a regular expression with a group, where given; else by the first of these that
    has an answer: `parts.csv` in `root`, what `capture` wrote there, sub-folders of `root`, a
    common pattern of file names, else the images themselves within the region of interest of
    `geometry`. `how` takes one of them alone, `among` some of them; `EACH` makes every image a
    part. `root` is the folder common to all images where it is not given, `read` decodes an image.

    Raises UsageError for an unfit `part_id`, DataError for an unfit table, when no image can be
    read, or when `how` has no answer.
    """
    images = list(dict.fromkeys(paths))
    base = root or _common_folder(images)
    if part_id is not None:
        parts, left_out = names.by_expression(images, part_id, base)
        rule = f"--part-id {part_id}"
        return PartAssignment(parts, How.PART_ID, rule, left_out, rule=rule)
    for one in among if how is None else (how,):
        if (
            answer := _answer(one, images, base, partial(look, geometry=geometry, read=read))
        ) is not None:
            return answer
    raise DataError(
        f"{base}: no part can be read from {how.value if how else 'the images'} there. Give the "
        "part in the file names with --part-id, or list image and part in parts.csv."
    )


def _answer(
    how: How, images: Sequence[Path], root: Path, looking: Callable[..., Looked]
) -> PartAssignment | None:
    if how is How.TABLE and (table := from_table(images, root)):
        return PartAssignment(table[0], how, f"the file {TABLE}", table[1], rule=TABLE)
    if how is How.CAPTURE and (captured := from_capture(images, root)):
        return _by_named(how, images, root, looking, captured)
    if how is How.FOLDERS and (folders := _by_folder(images, root)):
        detail, doubt = f"sub-folders of {root}", _doubt_of_folders(folders)
        return PartAssignment(folders, how, detail, doubt=doubt, rule="folders")
    if how is How.NAMES and (named := names.by_pattern(images)):
        return _by_named(how, images, root, looking, named)
    if how is How.IMAGES:
        return _by_looks(looking(images, {}), root)
    if how is How.EACH:
        return PartAssignment(_labels(images, root), how, "every image is a part")
    return None


def _by_folder(images: Sequence[Path], root: Path) -> dict[Path, str] | None:
    """Return each image's folder below `root`; None where they are all in `root` itself."""
    folders = {path: path.parent.relative_to(root).as_posix()
               for path in images if path.is_relative_to(root)}  # fmt: skip
    several = len(set(folders.values())) > 1 and "." not in folders.values()
    return folders if several and len(folders) == len(images) else None


def _doubt_of_folders(folders: dict[Path, str]) -> str:
    """Return why folders may not be parts, where they hold many images."""
    images = median(Counter(folders.values()).values())
    return _BY_FOLDER.format(median=images) if images >= _LARGE else ""


def _by_named(
    how: How, images: Sequence[Path], root: Path, looking: Callable[..., Looked], named: names.Named
) -> PartAssignment:
    """Take named parts; join inferred ones whose images show the same part, if that can be seen."""
    if not named.inferred:
        return PartAssignment(named.parts, how, named.detail, rule=named.title)
    looked = looking(images, named.parts)
    if looked.grouping.alike:
        return PartAssignment(named.parts, how, named.detail)
    parts = _first_labels(looked, root)
    joined = len({named.parts[path] for path in parts}) - len(set(parts.values()))
    detail = f"{named.detail}; {joined} of these joined to others that show the same part"
    doubt = _RECORDED if looked.grouping.recorded else ""
    return PartAssignment(parts, how, detail, looked.left_out, doubt)


def _by_looks(looked: Looked, root: Path) -> PartAssignment:
    """Take the groups that were found from the images, with what may be wrong about them."""
    grouping = looked.grouping
    found = PartAssignment(
        _first_labels(looked, root), How.IMAGES, "found from the images", looked.left_out,
        recognition=grouping.recognition,
    )  # fmt: skip
    doubt = _RECORDED if grouping.recorded else ""
    if grouping.alike:
        doubt = _ALIKE
    elif found.is_upper_bound and grouping.recognition:
        parts = len(set(grouping.groups))
        why = _TURNED if grouping.recognition.recognises_half else _UNRECOGNISED
        why = why.format(**asdict(grouping.recognition))
        doubt = _UPPER_BOUND.format(why=why, parts=parts)
    return replace(found, doubt=doubt)


def _first_labels(looked: Looked, root: Path) -> dict[Path, str]:
    """Name each group by its first image."""
    labels = _labels(looked.paths, root)
    groups = looked.grouping.groups
    first = dict(zip(reversed(groups), reversed(looked.paths), strict=True))
    return {path: labels[first[number]]
            for path, number in zip(looked.paths, groups, strict=True)}  # fmt: skip


def _labels(paths: Sequence[Path], root: Path) -> dict[Path, str]:
    """Return the shortest unique name of each image: its stem, else its path below `root`."""
    stems = Counter(path.stem for path in paths)
    below = {path: path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
             for path in paths}  # fmt: skip
    return {path: path.stem if stems[path.stem] == 1 else below[path] for path in paths}


def _common_folder(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
