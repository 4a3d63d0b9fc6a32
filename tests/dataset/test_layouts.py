"""Every layout is recognised by its structure and gives the same samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_ad.dataset import LAYOUTS, images_below, labelled_images, normal_images, read_truth
from edge_ad.dataset.recognition import layout_named, recognise
from edge_ad.errors import DataError, UsageError
from tests.dataset.folders import SIDE, block, mask, put, save


def mvtec(root: Path) -> None:
    put(root, "train/good/t.png", "test/good/n.png", "test/dent/a.png", "test/hole/b.png")
    mask(root, "ground_truth/dent/a_mask.png", "ground_truth/hole/b_mask.png")


def upper_case(root: Path) -> None:
    put(root, "TRAIN/GOOD/T.PNG", "TEST/GOOD/N.PNG", "TEST/DENT/A.PNG", "TEST/HOLE/B.PNG")
    mask(root, "GROUND_TRUTH/DENT/A_MASK.PNG", "GROUND_TRUTH/HOLE/B_MASK.PNG")


def one_class_visa(root: Path) -> None:
    put(root, "train/good/t.JPG", "test/good/n.JPG", "test/bad/a.JPG", "test/bad/b.JPG")
    mask(root, "ground_truth/bad/a.png", "ground_truth/bad/b.png", value=1)


def loco(root: Path) -> None:
    put(root, "train/good/t.png", "validation/good/v.png", "test/good/n.png")
    put(root, "test/logical_anomalies/000.png", "test/structural_anomalies/000.png")
    half = block().copy()
    half[:, 9:] = 0
    save(root / "ground_truth/logical_anomalies/000/000.png", half)
    save(root / "ground_truth/logical_anomalies/000/001.png", block() - half)
    mask(root, "ground_truth/structural_anomalies/000/000.png", value=3)


def btad(root: Path) -> None:
    put(root, "train/ok/t.bmp", "test/ok/n.bmp", "test/ko/a.bmp", "test/ko/b.bmp")
    mask(root, "ground_truth/ok/n.png", value=0)
    mask(root, "ground_truth/ko/a.png", "ground_truth/ko/b.png")


def visa_csv(root: Path) -> None:
    """Write the official split of two objects; `root` is the folder of one of them."""
    images, masks = f"{root.name}/Data/Images", f"{root.name}/Data/Masks/Anomaly"
    rows = [
        f"{root.name},train,normal,{images}/Normal/t.JPG,",
        f"{root.name},test,normal,{images}/Normal/n.JPG,",
        f"{root.name},test,anomaly,{images}/Anomaly/a.JPG,{masks}/a.png",
        f"{root.name},test,anomaly,{images}/Anomaly/b.JPG,{masks}/b.png",
        "other,train,normal,other/Data/Images/Normal/x.JPG,",
    ]
    for row in rows[:-1]:
        put(root.parent, row.split(",")[3])
    mask(root.parent, f"{masks}/a.png", f"{masks}/b.png", value=2)
    table = root.parent / "split_csv" / "1cls.csv"
    table.parent.mkdir()
    table.write_text("\n".join(["object,split,label,image,mask", *rows]) + "\n")
    (table.parent / "2cls_fewshot.csv").write_text(table.read_text())


def visa_annotations(root: Path) -> None:
    put(root, "Data/Images/Normal/n.JPG", "Data/Images/Anomaly/a.JPG", "Data/Images/Anomaly/b.JPG")
    mask(root, "Data/Masks/Anomaly/a.png", "Data/Masks/Anomaly/b.png", value=1)
    (root / "image_anno.csv").write_text(
        "image;label;mask\n"
        "Data/Images/Normal/n.JPG;normal;\n"
        "Data/Images/Anomaly/a.JPG;burn,chip;Data/Masks/Anomaly/a.png\n"
        "Data/Images/Anomaly/b.JPG;burn;Data/Masks/Anomaly/b.png\n"
    )


def kolektor(root: Path) -> None:
    for part, value in (("kos01/Part0", 255), ("kos01/Part1", 0), ("kos02/Part0", 1)):
        put(root, f"{part}.jpg")
        mask(root, f"{part}_label.bmp", value=value)


def one_kolektor_part(root: Path) -> None:
    for part, value in (("Part0", 255), ("Part1", 0), ("Part2", 1)):
        put(root, f"{part}.jpg")
        mask(root, f"{part}_label.bmp", value=value)


def kolektor2(root: Path) -> None:
    for name, value in (("train/1", 0), ("train/2", 255), ("test/3", 0), ("test/4", 255),
                        ("test/5", 1)):  # fmt: skip
        put(root, f"{name}.png")
        mask(root, f"{name}_GT.png", value=value)


def magnetic_tile(root: Path) -> None:
    for name, value in (("MT_Free", 0), ("MT_Crack", 255), ("MT_Fray", 255)):
        put(root, f"{name}/Imgs/exp1_num_{name}.jpg")
        mask(root, f"{name}/Imgs/exp1_num_{name}.png", value=value)


def plain(root: Path) -> None:
    put(root, "normal/0.png", "abnormal/0.png", "abnormal/1.png")
    mask(root, "masks/0_mask.png", "masks/1_mask.png")


def plain_with_types(root: Path) -> None:
    put(root, "Good/0.png", "scratch/0.png", "dent/0.png")
    mask(root, "labels/scratch/0.png", "labels/dent/0.png", value=9)


def plain_beside(root: Path) -> None:
    put(root, "ok/0.png", "nok/0.png", "nok/1.png")
    mask(root, "nok/0_mask.png", "nok/1_mask.png")


_SETS: dict[str, tuple[Callable[[Path], None], str, int]] = {
    "MVTec AD": (mvtec, "mvtec", 1),
    "upper case": (upper_case, "mvtec", 1),
    "VisA as one class": (one_class_visa, "mvtec", 1),
    "MVTec LOCO": (loco, "loco", 1),
    "BTAD": (btad, "btad", 1),
    "VisA's split": (visa_csv, "visa", 1),
    "VisA's annotations": (visa_annotations, "visa", 1),
    "KolektorSDD": (kolektor, "kolektor", 1),
    "a part of KolektorSDD": (one_kolektor_part, "kolektor", 1),
    "KolektorSDD2": (kolektor2, "ksdd2", 1),
    "magnetic tiles": (magnetic_tile, "magnetic-tile", 1),
    "plain": (plain, "plain", 1),
    "plain with types": (plain_with_types, "plain", 1),
    "plain, masks beside": (plain_beside, "plain", 1),
}


@pytest.mark.parametrize("name", list(_SETS))
def test_a_layout_is_recognised_with_one_normal_and_two_masked_images(
    tmp_path: Path, name: str
) -> None:
    write, layout, trained = _SETS[name]
    folder = tmp_path / "product"
    folder.mkdir()
    write(folder)
    labelled = labelled_images(folder)
    assert labelled.layout == layout and not labelled.left_out
    assert [sample.anomalous for sample in labelled] == [False, True, True]
    assert labelled.masked == 2
    for sample in labelled:
        truth = read_truth(sample, (SIDE, SIDE))
        assert truth is not None
        assert np.array_equal(truth, (block() > 0) & sample.anomalous)
    normal = normal_images(folder)
    assert len(normal) == trained, "masks and anomalous images are no training images"
    assert not {s.path for s in labelled if s.anomalous} & set(normal)


def test_every_layout_has_a_test() -> None:
    assert {layout for _, layout, _ in _SETS.values()} == {layout.name for layout in LAYOUTS}


def test_a_layout_without_a_split_says_that_figures_are_optimistic(tmp_path: Path) -> None:
    plain(tmp_path)
    assert "optimistic" in labelled_images(tmp_path).notes[0]


def test_a_forced_layout_is_used_or_refused(tmp_path: Path) -> None:
    loco(tmp_path)
    assert labelled_images(tmp_path, "mvtec").layout == "mvtec"
    with pytest.raises(DataError, match=r"not in BTAD's layout.*test/ko"):
        labelled_images(tmp_path, "btad")


@pytest.mark.parametrize(
    ("name", "layout"), [("mpdd", "mvtec"), ("MVTec", "mvtec"), ("KolektorSDD2", "ksdd2")]
)
def test_layouts_go_by_other_names_too(name: str, layout: str) -> None:
    assert layout_named(name).name == layout


def test_an_unknown_layout_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'btad'"):
        layout_named("btda")


def test_a_missing_kolektor_mask_is_refused_in_training_too(tmp_path: Path) -> None:
    kolektor(tmp_path)
    put(tmp_path, "kos02/Part7.jpg")
    for read in (labelled_images, normal_images):
        with pytest.raises(DataError, match=r"Part7\.jpg: no mask"):
            read(tmp_path)


def test_a_photo_named_like_a_mask_is_refused_in_training_too(tmp_path: Path) -> None:
    put(tmp_path, "front.png", "front_label.png")
    for read in (labelled_images, normal_images):
        with pytest.raises(DataError, match=r"front_label\.png: the mask looks inverted: 100%"):
            read(tmp_path)


def test_an_image_that_has_no_role_is_left_out_by_name(tmp_path: Path) -> None:
    mvtec(tmp_path)
    put(tmp_path, "test/dent/deeper/c.png", "extra/d.png", "test/dent/.hidden/e.png")
    labelled = labelled_images(tmp_path)
    lost = [str(tmp_path / name) for name in ("extra/d.png", "test/dent/deeper/c.png")]
    assert sorted(labelled.left_out) == lost and labelled.listed == 3 + 2
    assert all("layout has no images" in reason for reason in labelled.left_out.values())


def test_images_deeper_than_the_normal_ones_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "a.png", "monday/b.png")
    assert [path.name for path in normal_images(tmp_path)] == ["a.png"]
    assert f"left out 1 file: {tmp_path / 'monday' / 'b.png'}" in caplog.text


def test_a_link_back_lists_no_image_twice(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "monday/b.png")
    (tmp_path / "monday" / "again").symlink_to(tmp_path)
    assert [path.name for path in images_below(tmp_path)] == ["a.png", "b.png"]


def test_a_table_with_impossible_names_is_refused(tmp_path: Path) -> None:
    visa_annotations(tmp_path)
    table = tmp_path / "image_anno.csv"
    table.write_text(table.read_text() + f"{'x' * 999}.JPG;normal;\n")
    with pytest.raises(DataError, match="names it, but there is no such file"):
        labelled_images(tmp_path)


def test_a_table_names_files_that_must_exist(tmp_path: Path) -> None:
    visa_annotations(tmp_path)
    (tmp_path / "Data/Images/Anomaly/b.JPG").unlink()
    with pytest.raises(DataError, match=r"b\.JPG: image_anno\.csv names it, but"):
        labelled_images(tmp_path)


def test_a_table_of_several_objects_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "candle").mkdir()
    visa_csv(tmp_path / "candle")
    with pytest.raises(DataError, match=r"lists 2 objects \(candle, other\).*candle"):
        labelled_images(tmp_path)


def test_a_table_without_the_columns_is_no_layout(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    (tmp_path / "parts.csv").write_text("image,tile\na.png,3\n")
    assert recognise(tmp_path) is None
    assert len(normal_images(tmp_path)) == 1


@pytest.mark.parametrize("name", ["masks/plain", "masks/mask01", "masks/mixed", "kolektor/kos01"])
def test_the_shared_folders_are_read(shared: Path, name: str) -> None:
    folder = shared / "faults" / name
    labelled = labelled_images(folder)
    expected = {"masks/mixed": (3, 6), "kolektor/kos01": (3, 2)}.get(name, (3, 3))
    anomalous = [sample for sample in labelled if sample.anomalous]
    assert (len(labelled) - len(anomalous), len(anomalous)) == expected
    for sample in anomalous:
        truth = read_truth(sample, (240, 320))
        assert truth is not None and 0.005 < truth.mean() < 0.02
    assert not any("label" in path.name for path in normal_images(folder))


@pytest.mark.parametrize("label", ["burn", "normal"])
def test_a_table_lists_an_image_once(tmp_path: Path, label: str) -> None:
    """A second row would count the image twice, or contradict the first."""
    visa_annotations(tmp_path)
    table = tmp_path / "image_anno.csv"
    row = f"Data/Images/Anomaly/b.JPG;{label};Data/Masks/Anomaly/b.png\n"
    table.write_text(table.read_text() + row)
    with pytest.raises(DataError, match=r"b\.JPG: image_anno\.csv lists it 2 times"):
        labelled_images(tmp_path)
    left = labelled_images(tmp_path, leave_out_bad_masks=True)
    assert len(left) == 2 and left.listed == 2 + len(left.left_out)


def test_a_mask_beside_no_image_is_named(tmp_path: Path) -> None:
    kolektor2(tmp_path)
    (tmp_path / "test/4.png").unlink()
    with pytest.raises(DataError, match=r"4_GT\.png: a mask without an image"):
        labelled_images(tmp_path)


@pytest.mark.parametrize(
    ("content", "first"),
    [
        (b"img/a.png,good,\nimg/b.png,bad,m.png\n", "img/a.png,good,"),
        (b"\xef\xbb\xbfDatei;Klasse\r\na.png;gut\r\n", "Datei;Klasse"),
        ("image,label\na.png,good\n".encode("utf-16"), "\ufffd"),
        (b"", ""),
    ],
)
def test_a_table_with_another_header_is_named(tmp_path: Path, content: bytes, first: str) -> None:
    put(tmp_path, "img/a.png")
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match="Expected the columns image and label") as raised:
        labelled_images(tmp_path)
    assert f"{tmp_path / 'labels.csv'}: no table of images" in str(raised.value)
    assert f"its first line is '{first}" in str(raised.value)
