"""The record of which images a detector was trained on."""

from __future__ import annotations

import pytest

from edge_ad.data_split import DataSplit, ImageSet
from edge_ad.manifest import Manifest, manifest_from_json
from edge_ad.stored import StoredError


def test_an_image_is_recognised_by_its_file_or_by_its_pixels() -> None:
    known = ImageSet.of([("a" * 64, "b" * 64), ("c" * 64, "d" * 64)], ["tile 7"])
    assert known.has_image("a" * 64, "0" * 64), "same file, decoded differently"
    assert known.has_image("0" * 64, "d" * 64), "saved again without loss"
    assert known.has_image("", "d" * 64), "a frame has no file"
    assert not known.has_image("b" * 64, "a" * 64)
    assert not known.has_image("", "")
    assert known.has_part("tile 7") and not known.has_part("tile 70")


def test_no_images_make_an_empty_set() -> None:
    assert ImageSet.of([], []) == ImageSet()


def test_the_record_travels_in_the_manifest() -> None:
    split = DataSplit(rule="part-id --part-id x", trained=ImageSet.of([("a" * 64, "b" * 64)], "p"))
    assert split.trained.has_part("p")
    manifest = Manifest(method="draem", size_hw=(32, 32), data_split=split)
    assert manifest_from_json(manifest.to_json(), "x") == manifest


def test_a_digest_that_is_none_is_refused() -> None:
    with pytest.raises(StoredError, match=r"files\[0\]"):
        ImageSet.from_dict({"files": ["../secret.png"]})
    with pytest.raises(StoredError, match=r"files\[0\]"):
        ImageSet(files=("../secret.png",)).to_json()
