"""Images kept for training: which ones, lossless, within their budget."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edge_ad.clock import now_utc
from edge_ad.frame import Image
from edge_ad.images import read_image
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.samples import SampleFolder
from edge_ad.store.event import reject_event
from edge_ad.store.notes import mark
from edge_ad.store.samples import read_samples
from edge_ad.store.store import Store
from tests.conftest import invoke

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 40, 3)).astype(np.uint8)


@dataclass
class Feed:
    """Gives a folder one inspection a second."""

    store: Store
    samples: SampleFolder
    now: float = 0.0

    def judge(
        self, part: int, score: float, *, image: Image = IMAGE, invalid: bool = False
    ) -> None:
        verdict = Verdict.REJECT if score > 1 else Verdict.PASS
        inspection = Inspection(
            verdict=Verdict.INVALID if invalid else verdict, score=score, threshold=1.0,
            regions=(), frame=part, source="x", camera="top", part=part, time_utc=now_utc(),
        )  # fmt: skip
        if inspection.verdict is Verdict.REJECT:
            self.store.record(reject_event(inspection))
        self.samples.inspected(inspection, Evidence(image))
        self.samples.wait_for_room()
        self.now += 1


@contextmanager
def feeding(folder: Path, limit: int = 1 << 20) -> Iterator[Feed]:
    folder.mkdir(exist_ok=True)
    with Store(folder) as store:
        feed: Feed
        samples = SampleFolder(store, limit, clock=lambda: feed.now)
        feed = Feed(store, samples)
        yield feed
        samples.close()


def kept(folder: Path) -> list[tuple[int, str]]:
    return [(sample["part"], sample["kind"]) for sample in read_samples(folder)]


def test_rejected_nearly_rejected_and_random_images_are_kept(tmp_path: Path) -> None:
    with feeding(tmp_path / "out") as feed:
        feed.judge(1, 0.2)  # the first is the random one of five minutes
        feed.judge(2, 0.2)
        feed.judge(3, 1.2)
        feed.judge(4, 0.95)
        feed.judge(5, 0.89)
        feed.judge(6, float("nan"), invalid=True)
        feed.now += 300
        feed.judge(7, 0.2)
    assert kept(tmp_path / "out") == [
        (1, "random"),
        (3, "reject"),
        (4, "borderline"),
        (7, "random"),
    ]
    (first, *_) = read_samples(tmp_path / "out")
    np.testing.assert_array_equal(read_image(tmp_path / "out" / first["file"], 8), IMAGE)


@pytest.mark.parametrize(("score", "kind"), [(1.5, "reject"), (0.95, "borderline")])
def test_a_burst_keeps_one_a_second(tmp_path: Path, score: float, kind: str) -> None:
    with feeding(tmp_path / "out") as feed:
        feed.judge(100, 0.2)  # the random one
        for part in range(1, 21):
            feed.judge(part, score)
            feed.now -= 0.9
    kinds = [kind for _, kind in kept(tmp_path / "out")]
    assert 2 <= kinds.count(kind) <= 4 and len(kinds) == kinds.count(kind) + 1


def test_the_oldest_go_first_and_marked_ones_last(tmp_path: Path) -> None:
    out = tmp_path / "out"
    size = 4200  # bytes of a random image of 32x40
    with feeding(out, limit=5 * size) as feed:
        feed.judge(1, 1.5)
    mark(out, ["2"], "false-alarm", "anna")
    with feeding(out, limit=5 * size) as feed:
        for part in range(10, 20):
            feed.judge(part, 1.5)
    assert min(kept(out))[0] == 1
    assert max(kept(out))[0] == 19
    assert 3 <= len(kept(out)) <= 5
    files = sorted(path.name for path in (out / "samples").iterdir())
    assert files == sorted(Path(sample["file"]).name for sample in read_samples(out))
    assert [sample["part"] for sample in read_samples(out, marked=True)] == [1]


def test_the_verb_lists_them(tmp_path: Path) -> None:
    with feeding(tmp_path / "out") as feed:
        feed.judge(1, 1.5)
        feed.judge(2, 0.95)
    done = invoke("samples", tmp_path / "out", "--kind", "borderline")
    assert done.stdout == (
        "samples/part-00000002-borderline.png  top  borderline  score 0.95 / 1\n"
    )
    record = json.loads(invoke("samples", tmp_path / "out", "--json").stdout)
    assert [sample["part"] for sample in record["samples"]] == [1, 2]


def test_a_run_keeps_them_when_asked(
    make_engine: Callable[..., Path], make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    parts, engine = make_folder("parts", 12, bright=(4, 5, 6)), make_engine()
    words = ("run", "--camera", parts, "--engine", engine)
    done = invoke(*words, "-o", tmp_path / "out", "--keep-samples-mib", "1")
    assert done.returncode == 0, done.stderr
    assert {kind for _, kind in kept(tmp_path / "out")} == {"reject", "random"}
    done = invoke(*words, "-o", tmp_path / "none")
    assert not (tmp_path / "none" / "samples").exists()
    done = invoke(*words, "--keep-samples-mib", "1")
    assert done.returncode == 2 and "-o DIR" in done.stderr


def test_a_folder_that_cannot_be_written_is_an_error_of_this_outlet(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="samples"), feeding(tmp_path / "out") as feed:
        (tmp_path / "out" / "samples").rmdir()
        (tmp_path / "out" / "samples").write_text("in the way")
        feed.judge(1, 1.5)
