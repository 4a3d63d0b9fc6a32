"""Several threads share one engine: concurrent requests become one call, split again afterwards."""

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

T = TypeVar("T")
ENGINES = Path(__file__).resolve().parent.parent / "engines"


def images_of(count: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


class RecordingEngine(ScriptedEngine):
    """Records the number of images of every call, and checks that calls do not overlap.

    A call takes `call_s` seconds. It returns the same arrays every time. The call of number
    `fails_at` fails.
    """

    def __init__(self, batch: int | None, *, call_s: float = 0.0, fails_at: int = 0) -> None:
        super().__init__()
        self.manifest = Manifest(method="scripted", size_hw=(32, 32), batch=batch)
        self.sizes: list[int] = []
        self._call_s, self._fails_at = call_s, fails_at
        self._in_use = threading.Lock()
        self._maps = np.empty((64, 32, 32), np.float32)

    def infer(self, batch: Image) -> Prediction:
        assert self._in_use.acquire(blocking=False), "two threads in one engine"
        try:
            time.sleep(self._call_s)
            self.sizes.append(len(batch))
            if len(self.sizes) == self._fails_at:
                raise EngineLost("the GPU is gone")
            prediction = super().infer(batch)
            self._maps[: len(batch)] = prediction.maps
            return Prediction(self._maps[: len(batch)], prediction.scores)
        finally:
            self._in_use.release()


class PatientCondition(threading.Condition):
    """Records the timeouts of its waits and counts those that expired; waits `patience_s` instead.

    The machine's load then decides nothing: a call waits long for its clients, or not at all.
    """

    def __init__(self, patience_s: float) -> None:
        super().__init__()
        self.expired = 0
        self.timeouts: list[float] = []
        self._patience_s = patience_s

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        if timeout is None:
            return super().wait_for(predicate)
        self.timeouts.append(timeout)
        result = super().wait_for(predicate, self._patience_s)
        self.expired += not result
        return result


def run_in_threads(jobs: Sequence[Callable[[], object]]) -> None:
    """Run all jobs at once; raise what one of them raised."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        for future in [pool.submit(job) for job in jobs]:
            future.result(timeout=60)


def camera(engine: Engine, calls: int, size: int, seed: int) -> Callable[[], None]:
    """Return a job that calls the engine repeatedly and checks every result against its frames."""

    def run() -> None:
        for number in range(calls):
            images = images_of(size, seed * 1000 + number)
            prediction = engine.infer(images)
            expected = (images[:, :, :, 1] / 255).astype(np.float32)
            np.testing.assert_allclose(prediction.maps, expected, rtol=1e-6)
            np.testing.assert_array_equal(prediction.scores, prediction.maps.max(axis=(1, 2)))

    return run


@pytest.mark.parametrize("batch", [1, 2, 3, None])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 1, 1), (2, 1, 3), (12, 1)], ids=str)
def test_every_client_gets_the_result_of_its_own_frames(
    batch: int | None, sizes: tuple[int, ...]
) -> None:
    batcher = Batcher(RecordingEngine(batch))
    run_in_threads([camera(batcher.client(), 50, size, seed) for seed, size in enumerate(sizes)])


@pytest.mark.parametrize("name", ["green-32-b1", "green-32-b3", "green-32-bany"])
def test_onnx_runtime_gives_batched_frames_the_result_of_single_ones(name: str) -> None:
    with open_engine(ENGINES / f"{name}.onnx") as engine:
        single = [engine.infer(images_of(1, seed)) for seed in range(3)]
        batcher, batched = Batcher(engine), dict[int, Prediction]()

        def infer(client: Engine, seed: int) -> Callable[[], None]:
            return lambda: batched.update({seed: client.infer(images_of(1, seed))})

        run_in_threads([infer(batcher.client(), seed) for seed in range(3)])
    for seed, expected in enumerate(single):
        np.testing.assert_array_equal(batched[seed].maps, expected.maps)
        np.testing.assert_array_equal(batched[seed].scores, expected.scores)


@pytest.mark.parametrize(("batch", "cameras"), [(2, 2), (3, 3), (None, 4)])
def test_steady_cameras_share_their_calls(batch: int | None, cameras: int) -> None:
    """All but the first calls, before the clients are known, take every camera's frame."""
    engine = RecordingEngine(batch, call_s=0.04)
    batcher = Batcher(engine, condition=PatientCondition(2))
    run_in_threads([camera(batcher.client(), 10, 1, seed) for seed in range(cameras)])
    assert sum(engine.sizes) == 10 * cameras
    assert len(engine.sizes) <= 14, engine.sizes


def test_a_call_never_exceeds_the_engines_batch() -> None:
    engine = RecordingEngine(3, call_s=0.002)
    batcher = Batcher(engine)
    run_in_threads([camera(batcher.client(), 20, 2, seed) for seed in range(3)])
    assert set(engine.sizes) == {2}
    engine = RecordingEngine(None, call_s=0.002)
    batcher = Batcher(engine)
    run_in_threads([camera(batcher.client(), 20, 3, seed) for seed in range(4)])
    assert max(engine.sizes) <= 8


def test_an_engine_for_one_image_makes_no_client_wait() -> None:
    condition = PatientCondition(0)
    batcher = Batcher(RecordingEngine(1), condition=condition)
    first, second = batcher.client(), batcher.client()
    for client in (first, second, first):
        client.infer(images_of(1))
    assert condition.expired == 0


def test_a_camera_that_stops_delays_the_others_once() -> None:
    condition = PatientCondition(0)
    batcher = Batcher(RecordingEngine(2), condition=condition)
    steady, stopped = batcher.client(), batcher.client()
    stopped.infer(images_of(1))
    expired = []
    for _ in range(3):
        steady.infer(images_of(1))
        expired.append(condition.expired)
    assert expired == [1, 1, 1]


@pytest.mark.parametrize(("patience_s", "most_s"), [(60, 5), (0, 0)])
def test_the_wait_is_at_most_the_patience_and_half_a_call(patience_s: float, most_s: float) -> None:
    condition = PatientCondition(0)
    engine = RecordingEngine(2, call_s=0.01)
    batcher = Batcher(engine, patience_s=patience_s, condition=condition)
    for client in (batcher.client(), batcher.client()):
        client.infer(images_of(1))
    assert condition.timeouts[0] == 0  # no call has been timed yet
    assert 0 <= condition.timeouts[1] <= most_s


def test_a_failed_call_raises_in_each_of_its_clients_and_the_next_call_works() -> None:
    batcher = Batcher(RecordingEngine(2, fails_at=3), condition=PatientCondition(2))
    clients = [batcher.client(), batcher.client()]
    run_in_threads([camera(clients[0], 1, 1, 0)])
    run_in_threads([camera(clients[1], 1, 1, 1)])
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(client.infer, images_of(1)) for client in clients]
        errors = [future.exception(timeout=30) for future in futures]
    assert [str(error) for error in errors] == ["the GPU is gone"] * 2
    run_in_threads([camera(client, 1, 1, seed) for seed, client in enumerate(clients)])


def test_a_batch_of_the_wrong_size_fails_only_its_own_client() -> None:
    batcher = Batcher(RecordingEngine(2))
    with pytest.raises(ValueError, match="expects uint8"):
        batcher.client().infer(np.zeros((1, 8, 8, 3), np.uint8))
    with batcher.client() as client:
        camera(client, 2, 1, 0)()
