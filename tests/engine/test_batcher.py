"""Several threads at one engine: one call for what is asked together, each its own answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from edge_ad.engine import Batcher, Engine, Prediction, ScriptedEngine, open_engine
from edge_ad.errors import EngineLost
from edge_ad.frame import Image
from edge_ad.manifest import Manifest

Found = TypeVar("Found")
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


class Waits(threading.Condition):
    """Tells how often a call waited in vain for who was expected; `patience_s` rules the wait.

    The machine's load then decides nothing: a call waits long for those who come, or not at all.
    """

    def __init__(self, patience_s: float) -> None:
        super().__init__()
        self.in_vain = 0
        self._patience_s = patience_s

    def wait_for(self, predicate: Callable[[], Found], timeout: float | None = None) -> Found:
        if timeout is None:
            return super().wait_for(predicate)
        came = super().wait_for(predicate, self._patience_s)
        self.in_vain += not came
        return came


def waiting(engine: Engine, patience_s: float) -> tuple[Batcher, Waits]:
    gathered, waits = Batcher(engine), Waits(patience_s)
    gathered._changed = waits
    return gathered, waits


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
    gathered = Batcher(Watched(batch))
    in_threads([asks(gathered.seat(), 50, size, seed) for seed, size in enumerate(sizes)])


@pytest.mark.parametrize("name", ["green-32-b1", "green-32-b3", "green-32-bany"])
def test_onnx_runtime_answers_gathered_frames_as_it_answers_lone_ones(name: str) -> None:
    with open_engine(ENGINES / f"{name}.onnx") as engine:
        alone = [engine.infer(images_of(1, seed)) for seed in range(3)]
        gathered, found = Batcher(engine), dict[int, Prediction]()

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
    gathered, _ = waiting(engine, patience_s=2)
    in_threads([asks(gathered.seat(), 10, 1, seed) for seed in range(cameras)])
    assert sum(engine.sizes) == 10 * cameras
    assert len(engine.sizes) <= 14, engine.sizes


def test_a_call_never_takes_more_than_the_engine_has_room_for() -> None:
    engine = Watched(3, takes_s=0.002)
    gathered = Batcher(engine)
    in_threads([asks(gathered.seat(), 20, 2, seed) for seed in range(3)])
    assert set(engine.sizes) == {2}
    engine = Watched(None, takes_s=0.002)
    gathered = Batcher(engine)
    in_threads([asks(gathered.seat(), 20, 3, seed) for seed in range(4)])
    assert max(engine.sizes) <= 8


def test_an_engine_for_one_image_makes_nobody_wait() -> None:
    gathered, waits = waiting(Watched(1), patience_s=0)
    first, second = gathered.seat(), gathered.seat()
    for seat in (first, second, first):
        seat.infer(images_of(1))
    assert waits.in_vain == 0


def test_a_camera_that_falls_silent_delays_the_others_once() -> None:
    gathered, waits = waiting(Watched(2), patience_s=0)
    steady, silent = gathered.seat(), gathered.seat()
    silent.infer(images_of(1))
    waited = []
    for _ in range(3):
        steady.infer(images_of(1))
        waited.append(waits.in_vain)
    assert waited == [1, 1, 1]


@pytest.mark.parametrize(("patience_s", "most_s"), [(60, 5), (0, 0)])
def test_patience_is_what_was_given_and_at_most_half_a_call(
    monkeypatch: pytest.MonkeyPatch, patience_s: float, most_s: float
) -> None:
    asked: list[float] = []
    gathered = Batcher(Watched(2, takes_s=0.01), patience_s=patience_s)
    wait_for = gathered._changed.wait_for

    def noted(predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        asked.extend([] if timeout is None else [timeout])
        return wait_for(predicate, timeout)

    monkeypatch.setattr(gathered._changed, "wait_for", noted)
    for seat in (gathered.seat(), gathered.seat()):
        seat.infer(images_of(1))
    assert asked[0] == 0  # nobody knows yet how long a call takes
    assert 0 <= asked[1] <= most_s


def test_a_failed_call_is_told_to_everyone_in_it_and_the_next_one_works() -> None:
    gathered, _ = waiting(Watched(2, fails_at=3), patience_s=2)
    seats = [gathered.seat(), gathered.seat()]
    in_threads([asks(seats[0], 1, 1, 0)])
    in_threads([asks(seats[1], 1, 1, 1)])
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(seat.infer, images_of(1)) for seat in seats]
        failed = [one.exception(timeout=30) for one in asked]
    assert [str(error) for error in failed] == ["the card is gone"] * 2
    in_threads([asks(seat, 1, 1, seed) for seed, seat in enumerate(seats)])


def test_a_wrong_batch_fails_its_own_camera_only() -> None:
    gathered = Batcher(Watched(2))
    with pytest.raises(ValueError, match="wants uint8"):
        gathered.seat().infer(np.zeros((1, 8, 8, 3), np.uint8))
    with gathered.seat() as seat:
        asks(seat, 2, 1, 0)()
