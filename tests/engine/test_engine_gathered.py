"""Several threads at one engine: one call for what is asked together, each its own answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edge_ad.engine import Engine, Gathered, Prediction, ScriptedEngine, open_engine
from edge_ad.errors import EngineLost
from edge_ad.frame import Image
from edge_ad.manifest import Manifest

ENGINES = Path(__file__).resolve().parent.parent / "engines"


def images_of(count: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


class Watched(ScriptedEngine):
    """Notes how many images a call takes, and that nobody else is in it; a call takes a while.

    Its arrays are the same in every call. The call of number `fails_at` fails.
    """

    def __init__(self, batch: int | None, *, takes_s: float = 0.0, fails_at: int = 0) -> None:
        super().__init__()
        self.manifest = Manifest(method="scripted", size_hw=(32, 32), batch=batch)
        self.sizes: list[int] = []
        self._takes_s, self._fails_at = takes_s, fails_at
        self._one = threading.Lock()
        self._maps = np.empty((64, 32, 32), np.float32)

    def infer(self, batch: Image) -> Prediction:
        assert self._one.acquire(blocking=False), "two threads in one engine"
        try:
            time.sleep(self._takes_s)
            self.sizes.append(len(batch))
            if len(self.sizes) == self._fails_at:
                raise EngineLost("the card is gone")
            found = super().infer(batch)
            self._maps[: len(batch)] = found.maps
            return Prediction(self._maps[: len(batch)], found.scores)
        finally:
            self._one.release()


def in_threads(jobs: Sequence[Callable[[], object]]) -> None:
    """Run all at once; raises what one of them raised."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result(timeout=60)


def asks(engine: Engine, rounds: int, size: int, seed: int) -> Callable[[], None]:
    """A camera that asks again and again and checks each answer against its own frame."""

    def run() -> None:
        for number in range(rounds):
            images = images_of(size, seed * 1000 + number)
            found = engine.infer(images)
            wanted = (images[:, :, :, 1] / 255).astype(np.float32)
            np.testing.assert_allclose(found.maps, wanted, rtol=1e-6)
            np.testing.assert_array_equal(found.scores, found.maps.max(axis=(1, 2)))

    return run


@pytest.mark.parametrize("batch", [1, 2, 3, None])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 1, 1), (2, 1, 3), (12, 1)], ids=str)
def test_everyone_gets_the_answer_to_its_own_frames(
    batch: int | None, sizes: tuple[int, ...]
) -> None:
    gathered = Gathered(Watched(batch))
    in_threads([asks(gathered.seat(), 50, size, seed) for seed, size in enumerate(sizes)])


@pytest.mark.parametrize("name", ["green-32-b1", "green-32-b3", "green-32-bany"])
def test_onnx_runtime_answers_gathered_frames_as_it_answers_lone_ones(name: str) -> None:
    with open_engine(ENGINES / f"{name}.onnx") as engine:
        alone = [engine.infer(images_of(1, seed)) for seed in range(3)]
        gathered, found = Gathered(engine), dict[int, Prediction]()

        def ask(seat: Engine, seed: int) -> Callable[[], None]:
            return lambda: found.update({seed: seat.infer(images_of(1, seed))})

        in_threads([ask(gathered.seat(), seed) for seed in range(3)])
    for seed, wanted in enumerate(alone):
        np.testing.assert_array_equal(found[seed].maps, wanted.maps)
        np.testing.assert_array_equal(found[seed].scores, wanted.scores)


@pytest.mark.parametrize(("batch", "cameras"), [(2, 2), (3, 3), (None, 4)])
def test_cameras_that_keep_asking_share_their_calls(batch: int | None, cameras: int) -> None:
    """All but the first calls, when nobody knew of anybody yet, take every camera's frame."""
    engine = Watched(batch, takes_s=0.04)
    gathered = Gathered(engine)
    in_threads([asks(gathered.seat(), 10, 1, seed) for seed in range(cameras)])
    assert sum(engine.sizes) == 10 * cameras
    assert len(engine.sizes) <= 14, engine.sizes


def test_a_call_never_takes_more_than_the_engine_has_room_for() -> None:
    engine = Watched(3, takes_s=0.002)
    gathered = Gathered(engine)
    in_threads([asks(gathered.seat(), 20, 2, seed) for seed in range(3)])
    assert set(engine.sizes) == {2}
    engine = Watched(None, takes_s=0.002)
    gathered = Gathered(engine)
    in_threads([asks(gathered.seat(), 20, 3, seed) for seed in range(4)])
    assert max(engine.sizes) <= 8


def test_an_engine_for_one_image_makes_nobody_wait() -> None:
    gathered = Gathered(Watched(1, takes_s=0.01), patience_s=5)
    first, second = gathered.seat(), gathered.seat()
    first.infer(images_of(1))
    second.infer(images_of(1))
    began = time.perf_counter()
    first.infer(images_of(1))
    assert time.perf_counter() - began < 1


def test_a_camera_that_falls_silent_delays_the_others_once() -> None:
    engine = Watched(2, takes_s=0.4)
    gathered = Gathered(engine, patience_s=0.2)
    steady, silent = gathered.seat(), gathered.seat()
    silent.infer(images_of(1))
    waits = [seconds(lambda: steady.infer(images_of(1))) - 0.4 for _ in range(3)]
    assert 0.15 < waits[0] < 0.35, waits
    assert max(waits[1:]) < 0.1, waits


def test_patience_is_no_longer_than_half_a_call() -> None:
    gathered = Gathered(Watched(2, takes_s=0.01), patience_s=60)
    steady, silent = gathered.seat(), gathered.seat()
    silent.infer(images_of(1))
    assert seconds(lambda: steady.infer(images_of(1))) < 5


def test_a_failed_call_is_told_to_everyone_in_it_and_the_next_one_works() -> None:
    gathered = Gathered(Watched(2, takes_s=0.4, fails_at=3), patience_s=0.2)
    seats = [gathered.seat(), gathered.seat()]
    for seat in seats:
        seat.infer(images_of(1))
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(seat.infer, images_of(1)) for seat in seats]
        failed = [one.exception(timeout=30) for one in asked]
    assert [str(error) for error in failed] == ["the card is gone"] * 2
    in_threads([asks(seat, 1, 1, seed) for seed, seat in enumerate(seats)])


def test_a_wrong_batch_fails_its_own_camera_only() -> None:
    gathered = Gathered(Watched(2))
    with pytest.raises(ValueError, match="wants uint8"):
        gathered.seat().infer(np.zeros((1, 8, 8, 3), np.uint8))
    with gathered.seat() as seat:
        asks(seat, 2, 1, 0)()


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
