"""Part ids in file names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_ad.errors import UsageError
from edge_ad.parts import How, assign_parts
from edge_ad.parts.names import by_pattern


def _paths(*names: str) -> list[Path]:
    return [Path("data") / name for name in names]


def _groups(names: Sequence[str]) -> list[list[str]] | None:
    """Return the names of each part, or None where no pattern fits."""
    named = by_pattern(_paths(*names))
    if named is None:
        return None
    groups: dict[str, list[str]] = {}
    for path, part in named.parts.items():
        groups.setdefault(part, []).append(path.name)
    return list(groups.values())


@pytest.mark.parametrize(
    "parts",
    [
        [["part0012_cam1_003.png", "part0012_cam2_004.png"], ["part0013_cam1_005.png"]],
        [["SN12-A_1.jpg", "SN12-A_2.jpg"], ["SN13-B_1.jpg"]],
        [["SN884-1.png", "SN884-2.png"], ["SN885-1.png", "SN885-2.png"]],
        [["A17_top.bmp", "A17_left.bmp"], ["B02_top.bmp", "B02_left.bmp"]],
        [["0012_cam1.png", "0012_cam2.png"], ["0013_cam1.png", "0013_cam2.png"]],
        [["A17 (1).png", "A17 (2).png"], ["B1 (1).png"]],
        [["x_5ms.png", "x_20ms.png"], ["y_5ms.png", "y_20ms.png"]],
        [["exp1_num_100.jpg", "exp2_num_112.jpg", "exp3_num_120.jpg"],
         ["exp1_num_900.jpg", "exp2_num_913.jpg", "exp3_num_930.jpg"]],
        # the counter does not jump, but the exposure begins again
        [["exp1_num_1.jpg", "exp2_num_2.jpg"], ["exp1_num_3.jpg", "exp2_num_4.jpg"]],
        # an exposure series may begin anywhere
        [["exp3_num_11.jpg", "exp1_num_12.jpg"], ["exp3_num_93.jpg", "exp1_num_94.jpg"]],
        [["0001_000_01_0512.png", "0001_000_01_0768.png"], ["0002_000_01_0512.png"]],
        [["c_20261128_143501.png", "c_20261128_143502.png"],
         ["c_20261128_143601.png", "c_20261128_143602.png"],
         ["c_20261128_150001.png", "c_20261128_150002.png"]],
    ],
)  # fmt: skip
def test_a_common_pattern_gives_the_parts(parts: list[list[str]]) -> None:
    assert _groups([name for part in parts for name in part]) == parts


@pytest.mark.parametrize(
    "names",
    [
        ["000.jpg", "001.jpg", "002.jpg"],
        ["frame-000001.png", "frame-000002.png"],
        ["part_1.png", "part_2.png", "part_3.png"],  # every image another part: just a number
        ["part7_001.png", "part7_002.png"],  # one product, perhaps: says nothing about parts
        ["0001_000_01_0512.png", "0001_000_01_0768.png", "0001_000_02_0256.png"],
        ["a_0100.png", "a_0200.png", "b_0100.png"],  # every hundredth frame, not crops
        ["A17_top.png", "A17_left.png", "other.png"],
        ["img_20261128_143501.png", "img_20261128_143511.png", "img_20261128_143521.png",
         "img_20261128_143531.png"],  # one image every 10 s
        ["x_20269999_143501.png", "x_20261128_143511.png"],
    ],
)  # fmt: skip
def test_names_that_only_number_images_give_no_parts(names: list[str]) -> None:
    assert _groups(names) is None


def test_an_expression_takes_its_group_from_the_path() -> None:
    paths = [Path("d/mon/x1.png"), Path("d/mon/x2.png"), Path("d/tue/x1.png")]
    by_folder = assign_parts(paths, part_id=r"^(\w+)/", root=Path("d"))
    assert by_folder.how is How.PART_ID and list(by_folder.parts.values()) == ["mon", "mon", "tue"]
    assert by_folder.rule == r"--part-id ^(\w+)/", "the same in another folder"
    both = assign_parts(paths, part_id=r"^(\w+)/x(\d)", root=Path("d"))
    assert list(both.parts.values()) == ["mon-1", "mon-2", "tue-1"]
    named = assign_parts(paths, part_id=r"(\w+)/x(?P<part>\d)", root=Path("d"))
    assert list(named.parts.values()) == ["1", "2", "1"]


def test_images_that_do_not_match_are_left_out_and_named() -> None:
    paths = _paths("p1_a.png", "p1_b.png", "odd.png")
    assignment = assign_parts(paths, part_id=r"^p(\d+)")
    assert list(assignment.parts) == paths[:2]
    assert list(assignment.left_out) == paths[2:] and "'odd.png'" in assignment.left_out[paths[2]]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("part(", "not a regular expression"),
        (r"p\d", "has no group"),
        (r"z(\d+)", "matches none of the 2 images"),
        (r"p1(x?)", "matches none of the 2 images"),  # an empty part is none
    ],
)
def test_an_unfit_expression_is_refused(expression: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        assign_parts(_paths("p1_a.png", "p1_b.png"), part_id=expression)
