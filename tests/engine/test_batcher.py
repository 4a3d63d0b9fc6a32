"""Several threads share one engine: concurrent requests become one call, split again afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edge_ad.engine import Batcher, Engine, Prediction, ScriptedEngine, open_engine
from edge_ad.errors import EngineLost
from edge_ad.frame import Image
from edge_ad.manifest import Manifest
from tests.engine.patience import PatientCondition
from tests.timing import FakeClock, wait_until

ENGINES = Path(__file__).resolve().parent.parent / "engines"


def images_of(count: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


class RecordingEngine(ScriptedEngine):
    """Records the number of images of every call, and checks that calls do not overlap.

    A call returns the same arrays every time. It begins with `on_call`. The call of number
    `fails_at` fails.
    """

    def __init__(
        self, batch: int | None, on_call: Callable[[], None] | None = None, fails_at: int = 0
    ) -> None:
        super().__init__()
        self.manifest = Manifest(method="scripted", size_hw=(32, 32), batch=batch)
        self.sizes: list[int] = []
        self._on_call, self._fails_at = on_call, fails_at
        self._in_use = threading.Lock()
        self._maps = np.empty((64, 32, 32), np.float32)

    def infer(self, batch: Image) -> Prediction:
        assert self._in_use.acquire(blocking=False), "two threads in one engine"
        try:
            if self._on_call is not None:
                self._on_call()
            self.sizes.append(len(batch))
            if len(self.sizes) == self._fails_at:
                raise EngineLost("the GPU is gone")
            prediction = super().infer(batch)
            self._maps[: len(batch)] = prediction.maps
            return Prediction(self._maps[: len(batch)], prediction.scores)
        finally:
            self._in_use.release()


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
    """All but the first and last calls take every camera's frame."""
    engine = run_together(batch, [1] * cameras, calls=10)
    assert sum(engine.sizes) == 10 * cameras
    assert len(engine.sizes) <= 10 + cameras, engine.sizes


def run_together(batch: int | None, sizes: Sequence[int], calls: int) -> RecordingEngine:
    """Let cameras call an engine whose first call lasts until each of them has a request."""
    condition = PatientCondition(30)
    engine = RecordingEngine(batch, lambda: wait_until(lambda: condition.notified >= len(sizes)))
    batcher = Batcher(engine, condition=condition)
    jobs = [camera(batcher.client(), calls, size, seed) for seed, size in enumerate(sizes)]
    run_in_threads([until_one_ends(job, condition) for job in jobs])
    return engine


def until_one_ends(job: Callable[[], None], condition: PatientCondition) -> Callable[[], None]:
    """Return a job at whose end no call waits for its clients any longer."""

    def run() -> None:
        job()
        condition.give_up()

    return run


@pytest.mark.parametrize(("batch", "size", "most"), [(3, 2, 2), (None, 3, 6)])
def test_a_call_never_exceeds_the_engines_batch(batch: int | None, size: int, most: int) -> None:
    assert max(run_together(batch, [size] * 4, calls=20).sizes) == most


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


@pytest.mark.parametrize(("patience_s", "waits_s"), [(60, 0.25), (0.1, 0.1), (0, 0)])
def test_the_wait_is_at_most_the_patience_and_half_a_call(
    monkeypatch: pytest.MonkeyPatch, patience_s: float, waits_s: float
) -> None:
    clock, condition = FakeClock(), PatientCondition(0)
    monkeypatch.setattr("edge_ad.engine.batcher.time", clock)
    engine = RecordingEngine(2, lambda: clock.advance(0.5))
    batcher = Batcher(engine, patience_s=patience_s, condition=condition)
    for client in (batcher.client(), batcher.client()):
        client.infer(images_of(1))
    assert condition.timeouts == [0, waits_s]  # at first no call has been timed yet


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
