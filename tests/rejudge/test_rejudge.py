"""`edge-ad rejudge`: every image of an archive is one row, whatever happens."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest

from edge_ad import Detector
from edge_ad.errors import OutletLost, SourceLost
from edge_ad.rejudge import job as job_module
from edge_ad.rejudge.judge import ArchiveJudge
from edge_ad.rejudge.session import RejudgeConfig
from edge_ad.rejudge.table import write_table
from tests.conftest import invoke, store_threshold
from tests.rejudge.archives import IMAGES, rejudge, rows, run_session

MakePath = Callable[..., Path]


def test_scores_and_verdicts_are_those_of_a_line(
    make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    engine = make_engine("mean.onnx", score="mean", threshold=0.17)
    done = rejudge(engine, archive, tmp_path / "r.parquet", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    judged = {row["path"]: row for row in rows(tmp_path / "r.parquet")}
    assert summary["images"] == len(judged) == IMAGES and summary["left_out"] == 1
    assert 0 < summary["reject"] < IMAGES
    assert summary["pass"] + summary["reject"] + summary["invalid"] == IMAGES
    for folder in ("monday", "tuesday"):
        line = invoke("run", "--camera", archive / folder, "--engine", engine, "--json",
                      "--rule", "1/1")  # fmt: skip
        records = [json.loads(text) for text in line.stdout.splitlines()]
        for record in (one for one in records if one["type"] == "inspection"):
            row = judged[str(archive / folder / record["file"])]
            assert (row["verdict"], row["score"]) == (record["verdict"], record["score"])
    with Detector(engine) as detector:
        for path, row in judged.items():
            inspection = detector(path)
            assert row["score"] == inspection.score, "bit for bit"
            assert [region["peak"] for region in row["regions"]] == [
                region.peak for region in inspection.regions
            ]


def test_a_damaged_image_is_a_row_with_the_reason(
    make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    (archive / "cut.png").write_bytes((archive / "monday" / "0.png").read_bytes()[:500])
    assert cv2.imwrite(str(archive / "black.png"), np.zeros((64, 64, 3), np.uint8))
    done = rejudge(make_engine(), archive, tmp_path / "r.parquet")
    assert done.returncode == 0, done.stderr
    invalid = {Path(row["path"]).name: row for row in rows(tmp_path / "r.parquet") if row["reason"]}
    assert set(invalid) == {"cut.png", "black.png"}
    assert all(row["verdict"] == "INVALID" and row["score"] is None for row in invalid.values())
    assert "dark" in invalid["black.png"]["reason"] or "black" in invalid["black.png"]["reason"]
    assert f"{IMAGES + 2} images" in done.stdout and "2 INVALID" in done.stdout


def test_an_archive_without_one_good_image_is_an_error_after_its_rows_are_written(
    make_engine: MakePath, tmp_path: Path
) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.png").write_bytes(b"nothing")
    done = rejudge(make_engine(), tmp_path / "archive", tmp_path / "r.parquet")
    assert done.returncode == 5 and "none of the 1 images" in done.stderr
    assert len(rows(tmp_path / "r.parquet")) == 1


@pytest.mark.usefixtures("small_parts")
def test_a_stopped_job_goes_on_and_judges_no_image_twice(
    make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    config = RejudgeConfig(make_engine(), archive, tmp_path / "r.parquet")
    stop, judged = threading.Event(), list[str]()
    judge = ArchiveJudge.judge

    def counting(self: ArchiveJudge, path: str) -> Any:
        judged.append(path)
        if len(judged) == 5:
            stop.set()
        return judge(self, path)

    with mock.patch.object(ArchiveJudge, "judge", counting):
        assert run_session(config, stop) is None
        assert not config.output.exists(), "a half result has no name"
        (archive / "monday" / "new.png").write_bytes((archive / "monday" / "0.png").read_bytes())
        parts = sorted((tmp_path / "r.parquet.parts").glob("part-*"))
        parts[0].write_bytes(parts[0].read_bytes()[:-100])  # as a power cut leaves it
        summary = run_session(config)
    assert summary is not None and summary["judged_before"] == 2
    assert len(rows(config.output)) == IMAGES == len({row["path"] for row in rows(config.output)})
    assert not (tmp_path / "r.parquet.parts").exists()
    (archive / "monday" / "new.png").unlink()  # which was for the next job
    again = run_session(config)
    assert again is not None and again["judged_now"] == 0


@pytest.mark.usefixtures("small_parts")
def test_a_job_of_other_settings_is_not_mixed_in(
    make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    engine, output, stop = make_engine(), tmp_path / "r.parquet", threading.Event()
    stop.set()
    assert run_session(RejudgeConfig(engine, archive, output), stop) is None
    store_threshold(engine, 0.9)
    done = rejudge(engine, archive, output)
    assert done.returncode == 2 and "engine differ" in done.stderr and "--overwrite" in done.stderr
    assert rejudge(engine, archive, output, "--overwrite").returncode == 0
    assert {row["threshold"] for row in rows(output)} == {0.9}
    assert rejudge(engine, archive, output, "--maps").returncode == 2
    assert {row["threshold"] for row in rows(output)} == {0.9}, "the old result is untouched"


def test_a_finished_job_says_so_unless_images_have_come_since(
    make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    engine, output = make_engine(), tmp_path / "r.parquet"
    assert rejudge(engine, archive, output).returncode == 0
    again = rejudge(engine, archive, output)
    assert again.returncode == 0 and "finished already" in again.stderr
    shutil.copy(archive / "monday" / "0.png", archive / "tuesday" / "new.png")
    more = rejudge(engine, archive, output)
    assert more.returncode == 2 and f"of {IMAGES} images" in more.stderr
    assert f"{IMAGES + 1} in all" in more.stderr and "--overwrite" in more.stderr
    assert len(rows(output)) == IMAGES
    archive.rename(tmp_path / "elsewhere")
    archive.mkdir()
    gone = rejudge(engine, archive, output, "--bit-depth", 8)
    assert gone.returncode == 0, gone.stderr


def test_two_at_once_are_refused(make_engine: MakePath, archive: Path, tmp_path: Path) -> None:
    engine, output = make_engine(), tmp_path / "r.parquet"
    config = RejudgeConfig(engine, archive, output)

    def second(self: ArchiveJudge, path: str) -> Any:
        done = rejudge(engine, archive, output)
        assert done.returncode == 2 and "another edge-ad rejudge" in done.stderr
        return judge(self, path)

    judge = ArchiveJudge.judge
    with mock.patch.object(ArchiveJudge, "judge", second):
        assert run_session(config) is not None
    assert len(rows(output)) == IMAGES


def test_a_disk_that_fills_up_keeps_what_is_judged(
    make_engine: MakePath, archive: Path, tmp_path: Path, small_parts: None
) -> None:
    config = RejudgeConfig(make_engine(), archive, tmp_path / "r.parquet")
    full = OSError(28, "No space left on device")
    write, written = write_table, list[Path]()

    def filling(path: Path, table: Any) -> None:
        if len(written) == 2:
            path.write_bytes(b"half")
            raise full
        written.append(path)
        write(path, table)

    with (
        mock.patch.object(job_module, "write_table", filling),
        pytest.raises(OutletLost, match=r"No space left on device.*same command"),
    ):
        run_session(config)
    summary = run_session(config)
    assert summary is not None and summary["judged_before"] == 4
    assert len(rows(config.output)) == IMAGES


def test_an_archive_that_goes_away_gives_no_verdicts(
    make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    config = RejudgeConfig(make_engine(), archive, tmp_path / "r.parquet")
    judge = ArchiveJudge.judge

    def unmounting(self: ArchiveJudge, path: str) -> Any:
        if archive.exists():
            archive.rename(tmp_path / "away")
            archive.mkdir()  # a mount point
        return judge(self, path)

    with (
        mock.patch.object(ArchiveJudge, "judge", unmounting),
        pytest.raises(SourceLost, match="its storage fails"),
    ):
        run_session(config)
    archive.rmdir()
    (tmp_path / "away").rename(archive)
    assert run_session(config) is not None
    assert not any(row["reason"] for row in rows(config.output))


def test_maps_are_those_of_the_engine(make_engine: MakePath, archive: Path, tmp_path: Path) -> None:
    engine = make_engine()
    assert rejudge(engine, archive, tmp_path / "r.parquet", "--maps").returncode == 0
    for row in rows(tmp_path / "r.parquet"):
        values = np.frombuffer(row["map"], "<f4").reshape(row["map_height"], row["map_width"])
        assert float(values.max()) == row["score"], "the engine's score is the map's maximum"
        assert row["map_width"] * row["map_scale_x"] == row["width"]


def test_engines_are_compared_image_by_image(
    make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    (archive / "cut.png").write_bytes(b"cut")
    new, old = make_engine("new.onnx"), make_engine("old.onnx", score="mean", threshold=0.4)
    done = rejudge(new, archive, tmp_path / "r.parquet", "--against", old, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    against, table = summary["against"], rows(tmp_path / "r.parquet")
    differing = [row for row in table if row["verdict"] != row["against_verdict"]]
    assert sum(against["verdicts"].values()) == summary["images"] == IMAGES + 1
    assert against["flips"] == len(differing) > 0
    assert against["flips"] + against["same"] == summary["images"]
    largest = [item["path"] for item in against["largest"]]
    assert set(largest[: len(differing)]) == {row["path"] for row in differing}, "flips come first"
    sheet = cv2.imread(against["sheet"])
    assert sheet is not None and sheet.shape[1] == 2 * 720


def test_a_foreign_file_is_not_replaced(
    make_engine: MakePath, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "r.parquet").write_text("somebody's")
    done = rejudge(make_engine(), archive, tmp_path / "r.parquet")
    assert done.returncode == 2 and "did not write it" in done.stderr
    assert (tmp_path / "r.parquet").read_text() == "somebody's"
