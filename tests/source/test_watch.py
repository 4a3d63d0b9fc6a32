"""A watched folder: only completed files, each once, also after a restart and a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import SourceLost, UsageError
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.images import encode_image, read_image
from edge_ad.line.config import LineConfig
from edge_ad.line.open import open_line
from edge_ad.source import open_source
from edge_ad.source.base import SourceRequest
from edge_ad.source.ledger import Ledger
from edge_ad.source.open import parse_uri
from edge_ad.source.watch import LEDGER, WatchedFolder
from tests.conftest import invoke
from tests.line.memory import Memory
from tests.timing import LIMIT_S

pytestmark = pytest.mark.timeout(60)


def png(level: int = 90) -> bytes:
    noise = np.random.default_rng(level).integers(20, 60, (64, 64, 3))
    return encode_image(noise.astype(np.uint8), ".png")


class Watch:
    """A watched folder on a clock that moves with every pause; `steps` run one at each pause."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.now_s = 0.0
        self.steps: list[Callable[[], object]] = []
        self._most = 400
        request = SourceRequest(parse_uri(f"watch:{folder}"), "watched")
        self.source = WatchedFolder(
            folder,
            request,
            Ledger(folder / LEDGER),
            clock=lambda: self.now_s,
            pause=self._pause,
            **settings,
        )

    def _pause(self, seconds: float) -> bool:
        self.now_s += seconds
        self._most -= 1
        if self.steps:
            self.steps.pop(0)()
        return self._most < 0

    def take(self, count: int = 100, *, record: bool = True) -> list[Grab]:
        """Return up to `count` grabs; their verdicts are recorded."""
        self._most, grabs = 400, []
        for grab in self.source:
            grabs.append(grab)
            if record:
                self.source.recorded(grab.index)
            if len(grabs) == count:
                break
        return grabs

    def close(self) -> None:
        self.source.close()


def names(grabs: list[Grab]) -> list[str]:
    return [grab.file for grab in grabs]


def test_files_come_by_age_and_each_once_and_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, age in (("b.png", 3), ("a.png", 1), ("c.png", 2)):
        (tmp_path / name).write_bytes(png())
        os.utime(tmp_path / name, ns=(0, 10**18 - age))
    for other in (".hidden.png", "notes.txt"):
        (tmp_path / other).write_bytes(png())
    watch = Watch(tmp_path)
    assert names(watch.take()) == ["b.png", "c.png", "a.png"]
    (tmp_path / "d.png").write_bytes(png())
    assert names(watch.take()) == ["d.png"]
    assert len(list(tmp_path.glob("[a-d].png"))) == 4 and not caplog.messages


def test_a_file_that_is_being_judged_does_not_come_again(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    watch = Watch(tmp_path)
    (first,) = watch.take(record=False)
    (tmp_path / "a.png").write_bytes(png(91))  # the next part's image has the same name
    assert watch.take() == [], "the verdict on the first is not recorded yet"
    watch.source.recorded(first.index)
    (second,) = watch.take()
    assert (second.file, second.index) == ("a.png", first.index + 1)
    assert watch.take() == []


def test_a_file_that_grows_is_delivered_when_it_is_complete(tmp_path: Path) -> None:
    data, path = png(), tmp_path / "slow.png"
    watch = Watch(tmp_path)

    def write(share: float) -> Callable[[], object]:
        return lambda: path.write_bytes(data[: int(len(data) * share)])

    watch.steps = [write(share / 20) for share in range(1, 21)]
    (grab,) = watch.take()
    assert isinstance(grab, Frame) and grab.image.shape == (64, 64, 3)


def test_an_empty_file_is_given_up_and_judged_once_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "late.png"
    path.touch()
    watch = Watch(tmp_path, give_up_s=5.0)
    watch.steps = [lambda: None] * 100 + [lambda: path.write_bytes(png())]

    given_up, judged = watch.take()

    assert isinstance(given_up, BadFrame) and "late.png" in given_up.reason
    assert isinstance(judged, Frame)


def test_an_upload_that_pauses_is_waited_for(tmp_path: Path) -> None:
    data, path = png(), tmp_path / "paused.png"
    path.write_bytes(data[: len(data) // 2])
    watch = Watch(tmp_path)
    nothing: list[Callable[[], object]] = [lambda: None] * 50  # five seconds
    watch.steps = [*nothing, lambda: path.write_bytes(data)]
    (grab,) = watch.take()
    assert isinstance(grab, Frame)


def test_a_file_that_stays_damaged_is_a_bad_frame_once_and_holds_up_nobody(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png()[:500])
    (tmp_path / "b.png").write_bytes(png())
    watch = Watch(tmp_path)
    good, bad = watch.take()
    assert isinstance(good, Frame) and good.file == "b.png"
    assert isinstance(bad, BadFrame) and bad.file == "a.png" and "a.png" in bad.reason
    assert watch.now_s > 10


def test_a_restart_goes_on_with_what_was_not_recorded(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(png(number))
        os.utime(tmp_path / f"{number}.png", ns=(0, 10**18 + number))
    first = Watch(tmp_path)
    assert len(first.take(2)) == 2
    assert len(first.take(1, record=False)) == 1
    first.close()
    second = Watch(tmp_path)
    assert names(second.take()) == ["2.png", "3.png", "4.png"]
    second.close()
    assert Watch(tmp_path).take() == []


def test_a_name_that_is_written_again_is_another_part(tmp_path: Path) -> None:
    watch, path = Watch(tmp_path), tmp_path / "latest.png"
    for level in (1, 2, 3):
        path.write_bytes(png(level))
        os.utime(path, ns=(0, 10**18 + level))
        assert names(watch.take()) == ["latest.png"]
        assert watch.take() == []


def test_judged_files_are_deleted_or_moved_and_none_is_replaced(tmp_path: Path) -> None:
    incoming, done = tmp_path / "incoming", tmp_path / "done"
    incoming.mkdir()
    done.mkdir()
    (done / "a.png").write_bytes(b"earlier")
    watch = Watch(incoming, then=str(done))
    (incoming / "a.png").write_bytes(png())
    watch.take()
    assert sorted(path.name for path in done.iterdir()) == ["a-2.png", "a.png"]
    watch.close()
    watch = Watch(incoming, then="delete")
    (incoming / "b.png").write_bytes(png())
    watch.take()
    assert [path.name for path in incoming.iterdir()] == [LEDGER]


def test_a_folder_that_goes_is_a_fault_once_and_may_return(tmp_path: Path) -> None:
    folder, away = tmp_path / "in", tmp_path / "away"
    folder.mkdir()
    watch = Watch(folder)
    folder.rename(away)
    (grab,) = watch.take()
    assert isinstance(grab, BadFrame) and "cannot be listed" in grab.reason
    (away / "a.png").write_bytes(png())
    away.rename(folder)
    assert names(watch.take()) == ["a.png"]


def test_a_verdict_that_comes_after_the_end_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    watch = Watch(tmp_path)
    (grab,) = watch.take(1, record=False)
    watch.close()
    watch.source.recorded(grab.index)
    assert Watch(tmp_path).take() == [], "its ledger is free, and knows the file"


def test_a_file_that_cannot_be_moved_stays_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watched, away = tmp_path / "watched", tmp_path / "away"
    watched.mkdir()
    (watched / "a.png").write_bytes(png())
    watch = Watch(watched, then=str(away))
    assert names(watch.take()) == ["a.png"]
    assert (watched / "a.png").exists()
    assert caplog.messages == [
        f"watched: a.png was judged; not moved to {away}, and stays (No such file or directory)"
    ]


def test_a_file_that_breaks_its_reader_is_given_up_and_the_others_come(tmp_path: Path) -> None:
    def read(path: Path) -> Any:
        if path.name == "a.png":
            raise ZeroDivisionError("a bug")
        return read_image(path)

    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png())
    broken, whole = sorted(Watch(tmp_path, read=read).take(2), key=lambda grab: grab.file)
    assert isinstance(broken, BadFrame) and broken.reason == "ZeroDivisionError: a bug"
    assert isinstance(whole, Frame)


def test_names_that_are_no_unicode_are_judged_and_recorded(
    make_engine: Callable[..., Path], tmp_path: Path
) -> None:
    folder, out = tmp_path / os.fsdecode(b"parts \xe4"), tmp_path / os.fsdecode(b"out \xe4")
    folder.mkdir()
    for name in (b"a\xe4.png", "ä.png".encode(), b"\xff.png"):
        (folder / os.fsdecode(name)).write_bytes(encode_image(_with_spot(), ".png"))
    (folder / os.fsdecode(b"broken\xe4.png")).write_bytes(b"x")
    words = ("--camera", f"watch:{folder}?settle_s=0&give_up_s=0", "--engine", make_engine())
    done = invoke("run", *words, "-o", out, "--part", "frame", "--frames", 4)
    assert done.returncode == 0, done.stderr
    listed = [json.loads(line) for line in invoke("events", out, "--json").stdout.splitlines()]
    rejects = [event for event in listed if event["type"] == "reject"]
    assert sorted(event["file"] for event in rejects) == ["\\xff.png", "a\\xe4.png", "ä.png"]
    assert all((out / event["evidence"]).exists() for event in rejects)
    assert any("broken" in event.get("file", "") for event in listed)
    done = invoke("events", out, "--camera", os.fsdecode(b"c\xe4"))
    assert done.returncode == 2 and "no record of a camera 'c\\xe4'" in done.stderr


def _with_spot() -> NDArray[np.uint8]:
    image = np.random.default_rng(1).integers(20, 60, (64, 64, 3)).astype(np.uint8)
    image[8:20, 20:32] = 250
    return image


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceLost, match="no such folder"):
        open_source(f"watch:{tmp_path}/none")
    for option, message in (
        ("then=burn", "keep, delete or a folder"),
        (f"then={tmp_path}", "another folder"),
        ("ledger=/dev/full/x", "a file in a folder"),
        ("ledger=/proc/x", "cannot be written"),
        ("settle_s=-1", "at least 0"),
    ):
        with pytest.raises(UsageError, match=message):
            open_source(f"watch:{tmp_path}?{option}")


def test_a_line_watches_waits_and_goes_on_after_a_restart(
    make_engine: Callable[..., Path], make_folder: Callable[..., Path]
) -> None:
    folder = make_folder("parts", 3, bright=(1,))
    config = LineConfig((f"watch:{folder}?settle_s=0",), make_engine(), timeout_s=0.01)
    judged: list[str] = []
    for limit in (2, 1):
        memory = Memory()
        with open_line(
            LineConfig(config.cameras, config.engine, frames=limit, timeout_s=0.01), [memory]
        ) as line:
            line.start()
            assert line.wait(LIMIT_S)
            line.finish()
        line.raise_errors()
        judged += [inspection.file for inspection in memory.inspections]
    assert sorted(judged) == ["000.png", "001.png", "002.png"]
    with open_line(config) as line:
        line.start()
        assert not line.wait(0.2)
        assert line.finish()["frames"] == 0
    line.raise_errors()
