"""Part ids in file names: by the user's expression, or by a common pattern.

A pattern counts only where it fits every name and groups them: at least two parts, at least one of
them with two images. Names that merely number the images say nothing about parts.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from edge_ad.errors import UsageError
from edge_ad.parts.bursts import bursts, time_in

_LONG_GAP = 5.0  # times the usual step of a counter or clock within a series
_MARK = "part|sn|serial|piece|pc|item|unit|tile|sample|specimen|obj|object|board|teil|dut"
_VIEWS = (
    r"cam(?:era)?[-_]?\w?\d*|view\d*|pos\d*|angle\d*|light\d*|led\d*|exp(?:osure)?[-_]?\d+|shot\d+|"
    r"img\d+|image\d+|frame\d+|top|bottom|left|right|front|back|rear|side|inner|outer|bright|dark|"
    r"hdr\d*|\d+(?:ms|us|deg)"
)
_MARKED = re.compile(rf"(?:^|[-_. ])((?:{_MARK})[-_ ]?[0-9][0-9a-z]*)(?=[-_. ]|$)", re.I)
_VIEW = re.compile(rf"^(.+?)(?:[-_. ](?:{_VIEWS}))+(?:[-_. ]\d{{1,3}})?$", re.I)
_NUMBERED = re.compile(r"^(.*[a-z0-9)])[-_. ]\(?(\d{1,2})\)?$", re.I)
_CROP = re.compile(r"^(.*[a-z0-9)])[-_. ][xy]?(\d{2,5})$", re.I)
_CROP_STEP = 16  # pixels; crops lie at multiples of it, running numbers do not
_SERIES = re.compile(
    r"^(.*?)(?:exp(?:osure)?|ev|light|led|cam(?:era)?|view)[-_]?(\d+)[-_](?:num|nr|no|n|frame|img)?"
    r"[-_]?(\d+)$",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A way of naming: its title, and names to part ids, None where it does not fit.

    `inferred` ids follow from a counter or clock: two of them may be of the same part.
    """

    title: str
    part_ids: Callable[[Sequence[str]], list[str] | None]
    inferred: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """Parts read from names by a pattern; `detail` names it with an example."""

    parts: dict[Path, str]
    title: str
    detail: str
    inferred: bool


def by_expression(
    paths: Sequence[Path], expression: str, root: Path
) -> tuple[dict[Path, str], dict[Path, str]]:
    """Return the parts of the images whose path below `root` matches, and the others with why.

    The part is the group named `part`, else all groups joined by '-'; the path uses '/' and
    includes the suffix. Raises UsageError for an expression that is invalid, has no group or
    matches no image.
    """
    pattern = compiled(expression)
    parts, left_out = {}, {}
    for path in paths:
        name = _relative(path, root)
        part = _part_of(pattern.search(name))
        if part:
            parts[path] = part
        else:
            left_out[path] = f"--part-id {expression} gives no part for '{name}'"
    if paths and not parts:
        raise UsageError(
            f"--part-id {expression}: matches none of the {len(paths)} images. Expected a "
            f"regular expression that finds the part in names like '{_relative(paths[0], root)}'."
        )
    return parts, left_out


def compiled(expression: str) -> re.Pattern[str]:
    """Compile a `--part-id`. Raises UsageError for one that is invalid or has no group."""
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise UsageError(f"--part-id {expression}: not a regular expression ({error}).") from error
    if not pattern.groups:
        raise UsageError(
            f"--part-id {expression}: it has no group. Put parentheses around the part, like "
            "'part(\\d+)'."
        )
    return pattern


def by_pattern(paths: Sequence[Path]) -> Named | None:
    """Return the parts by the first common pattern that fits; None where none does."""
    stems = [path.stem for path in paths]
    for pattern in PATTERNS:
        ids = pattern.part_ids(stems)
        if ids is not None and _groups(ids):
            part = (
                f" of part '{ids[0]}'" if ids[0] else ""
            )  # a series may have no name but its counter
            detail = f"{pattern.title}, like '{paths[0].name}'{part}"
            return Named(
                dict(zip(paths, ids, strict=True)), pattern.title, detail, pattern.inferred
            )
    return None


def _part_of(match: re.Match[str] | None) -> str:
    if match is None:
        return ""
    named = match.groupdict().get("part")
    return named or "-".join(group for group in match.groups() if group)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _groups(ids: Iterable[str]) -> bool:
    counts = Counter(ids)
    return len(counts) >= 2 and max(counts.values()) >= 2


def _marked(stems: Sequence[str]) -> list[str] | None:
    """Find a word for a part with its number: `part0012_cam1_003`, `SN12345-2`."""
    matches = [_MARKED.search(stem) for stem in stems]
    return [match[1] for match in matches if match] if all(matches) else None


def _series(stems: Sequence[str]) -> list[str] | None:
    """Find exposure series: `exp3_num_12345`, an exposure and a counter over all images.

    A new part begins where an exposure repeats, or the counter jumps.
    """
    matches = [_SERIES.match(stem) for stem in stems]
    if not all(matches):
        return None
    rows = sorted((match[1], int(match[3]), match[2], stem)
                  for match, stem in zip(matches, stems, strict=True) if match)  # fmt: skip
    steps = [b[1] - a[1] for a, b in pairwise(rows) if a[2] != b[2]]
    if not steps:
        return None
    limit, parts = _LONG_GAP * median(steps), {}
    first, exposures, last = "", set[str](), ("", 0)
    for prefix, number, exposure, stem in rows:
        same_series = prefix == last[0] and number - last[1] <= limit
        if not same_series or exposure in exposures:
            first, exposures = stem, set()
        exposures.add(exposure)
        parts[stem], last = first, (prefix, number)
    return [parts[stem] for stem in stems]


def _views(stems: Sequence[str]) -> list[str] | None:
    """Find the words for a camera, light or side after an id: `A17_top`, `0012_cam2`."""
    matches = [_VIEW.match(stem) for stem in stems]
    return [match[1] for match in matches if match] if all(matches) else None


def _numbered(stems: Sequence[str]) -> list[str] | None:
    """Find a short count after an id, from 0 or 1 without gaps: `A17-1`, `A17-2`, `B03 (1)`."""
    matches = [_NUMBERED.match(stem) for stem in stems]
    if not all(matches):
        return None
    counts: dict[str, list[int]] = {}
    for match in matches:
        assert match is not None
        counts.setdefault(match[1], []).append(int(match[2]))
    if any(sorted(count) != list(range(min(count), min(count) + len(count))) or min(count) > 1
           for count in counts.values()):  # fmt: skip
        return None
    return [match[1] for match in matches if match]


def _crops(stems: Sequence[str]) -> list[str] | None:
    """Find pixel offsets after an id, the same for several ids: `0001_0512`, `0001_0768`.

    Crops of one photo are not independent.
    """
    matches = [_CROP.match(stem) for stem in stems]
    if not all(matches):
        return None
    offsets = [int(match[2]) for match in matches if match]
    step, repeated = math.gcd(*offsets), len(set(offsets)) < len(offsets)
    if not repeated or step == 0 or step % _CROP_STEP:
        return None
    return [match[1] for match in matches if match]


def _timed(stems: Sequence[str]) -> list[str] | None:
    """Find times of day like `20261128_143501_123`, taken in bursts with pauses between."""
    times = [time_in(stem) for stem in stems]
    known = [time for time in times if time is not None]
    numbers = bursts(known) if len(known) == len(times) else None
    if numbers is None:
        return None
    first = dict(zip(reversed(numbers), reversed(stems), strict=True))
    return [first[number] for number in numbers]


# in the order in which they are tried; the first that groups the names decides
PATTERNS = (
    Pattern("a part's number in the names", _marked),
    Pattern("exposure series in the names", _series, inferred=True),
    Pattern("views of an id in the names", _views),
    Pattern("a count after an id in the names", _numbered),
    Pattern("offsets of crops after an id in the names", _crops),
    Pattern("bursts of times in the names", _timed, inferred=True),
)
