"""Buffer rotation, overlap, graphs and clean-up, on a fake GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_ad.engine import OverlappingEngine
from edge_ad.engine.base import Prediction
from edge_ad.engine.tensorrt.cuda import CudaError
from edge_ad.engine.tensorrt.plan import TensorRTEngine
from edge_ad.errors import EngineLost
from edge_ad.frame import Image
from edge_ad.manifest import Manifest
from tests.engine.tensorrt.fake_cuda import FakeCuda, FakeStream
from tests.engine.tensorrt.fake_program import FakeProgram

SIZE = (4, 6)
PROFILES = [(1, 1, 1), (3, 3, 3), (1, 2, 4), (2, 3, 4)]


def images_of(count: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE, 3)).astype(np.uint8)


def predict(images: Image) -> Prediction:
    """Return a map and a score that differ for different images."""
    weights = np.array([1, 256, 65536], np.float32)
    maps: NDArray[np.float32] = images.astype(np.float32) @ weights
    return Prediction(maps, maps.max(axis=(1, 2)))


def engine_on(
    cuda: FakeCuda,
    profile: tuple[int, int, int] = (1, 2, 4),
    *,
    graphs: bool = True,
    network: Callable[[Image], Prediction] = predict,
) -> TensorRTEngine:
    program = FakeProgram(cuda, network, size_hw=SIZE, batch=profile)
    manifest = Manifest(method="scripted", size_hw=SIZE, batch=None)
    return TensorRTEngine("scripted.plan", manifest, cuda, lambda: program, graphs=graphs)


def assert_prediction(found: Prediction, images: Image) -> None:
    expected = predict(images)
    np.testing.assert_array_equal(found.maps, expected.maps)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("graphs", [True, False], ids=["replayed", "launched"])
@pytest.mark.parametrize("profile", PROFILES, ids=str)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 11])
def test_any_number_of_images_fits_any_profile(
    count: int, profile: tuple[int, int, int], *, graphs: bool
) -> None:
    with engine_on(FakeCuda(), profile, graphs=graphs) as engine:
        for seed in range(4):  # plain, captured, replayed
            images = images_of(count, seed)
            assert_prediction(engine.infer(images), images)


@settings(deadline=None)
@given(
    profile=st.sampled_from(PROFILES),
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    picks=st.lists(st.integers(0, 2), min_size=1, max_size=40),
    graphs=st.booleans(),
)
def test_no_order_that_the_events_allow_mixes_results(
    profile: tuple[int, int, int], counts: list[int], picks: list[int], *, graphs: bool
) -> None:
    """Two batches in flight, on a GPU that serves its streams in any order."""
    turn = iter(range(10**6))

    def choose(streams: Sequence[FakeStream]) -> FakeStream:
        return streams[picks[next(turn) % len(picks)] % len(streams)]

    batches = [images_of(count, seed) for seed, count in enumerate(counts)]
    found = []
    with engine_on(FakeCuda(choose), profile, graphs=graphs) as engine:
        for batch in batches:
            mine = batch.copy()
            engine.submit(mine)
            mine[:] = 0  # the caller may reuse the array
            if engine.pending > 1:
                found.append(engine.collect())
        while engine.pending:
            found.append(engine.collect())
    for prediction, batch in zip(found, batches, strict=True):
        assert_prediction(prediction, batch)


def test_the_next_upload_runs_beside_the_network() -> None:
    """On a GPU that copies while it computes: images of the second batch arrive before the first
    is inferred, and before the first is collected."""

    def copies_first(streams: Sequence[FakeStream]) -> FakeStream:
        return min(streams, key=lambda stream: stream.handle)

    cuda = FakeCuda(copies_first)
    with engine_on(cuda, (1, 1, 1), graphs=False) as engine:
        cuda.journal.clear()
        engine.submit(images_of(1, 0))
        engine.submit(images_of(1, 1))
        engine.collect()
        engine.collect()
    assert cuda.journal[:3] == ["upload", "upload", "infer"]
    assert cuda.journal.count("infer") == 2


def test_parts_of_one_batch_overlap_too() -> None:
    cuda = FakeCuda(lambda streams: min(streams, key=lambda stream: stream.handle))
    with engine_on(cuda, (1, 1, 1), graphs=False) as engine:
        cuda.journal.clear()
        engine.infer(images_of(3))
    assert cuda.journal[:3] == ["upload", "upload", "infer"]


def test_results_are_the_callers_own_arrays() -> None:
    with engine_on(FakeCuda()) as engine:
        first = engine.infer(images_of(2, 0))
        kept = (first.maps.copy(), first.scores.copy())
        for seed in range(1, 5):
            engine.infer(images_of(2, seed))
        np.testing.assert_array_equal(first.maps, kept[0])
        np.testing.assert_array_equal(first.scores, kept[1])


def test_without_events_the_fake_gpu_mixes_results() -> None:
    """As on a real GPU: a download that does not wait for the network gets wrong data."""
    cuda = FakeCuda()
    with cuda.current():
        program = FakeProgram(cuda, predict, size_hw=SIZE)
        compute, copies = cuda.stream(), cuda.stream()
        host = cuda.pinned((1, *SIZE), np.float32)
        addresses = [cuda.memory(size) for size in (72, 96, 4)]
        program.resize(1)
        program.bind(addresses[0], addresses[1], addresses[2])
        cuda.choose = lambda streams: streams[-1]
        program.enqueue(compute)
        cuda.download(host, addresses[1], copies)
        copies.synchronize()
    assert not np.array_equal(host, predict(np.full((1, *SIZE, 3), 0xA5, np.uint8)).maps)


def test_launches_are_replayed_from_the_second_on() -> None:
    cuda = FakeCuda()
    with engine_on(cuda) as engine:
        assert engine.graph == "replayed"
        cuda.journal.clear()
        engine.infer(images_of(2))
        assert cuda.journal == ["upload", "replay", "download", "download"]
        assert cuda.graphs == 2
    assert cuda.graphs == 0


def test_a_refused_capture_is_explained_and_the_engine_still_works() -> None:
    with engine_on(FakeCuda(captures=False)) as engine:
        assert engine.graph == "not replayed: this GPU captures nothing"
        assert_prediction(engine.infer(images_of(2)), images_of(2))


def test_a_network_that_fails_during_capture_is_launched_without_a_graph() -> None:
    """Both warm-up launches succeed, the third is captured."""
    with engine_on(FakeCuda(fails={"infer": 3})) as engine:
        assert engine.graph == "not replayed: infer failed"
        assert_prediction(engine.infer(images_of(2)), images_of(2))


def test_a_program_that_replays_by_itself_is_not_captured() -> None:
    cuda = FakeCuda()
    program = FakeProgram(cuda, predict, size_hw=SIZE)
    program.graph = "replayed by TensorRT-RTX"
    manifest = Manifest(method="scripted", size_hw=SIZE)
    with TensorRTEngine("x", manifest, cuda, lambda: program) as engine:
        engine.infer(images_of(1))
        assert engine.graph == "replayed by TensorRT-RTX"
    assert "replay" not in cuda.journal


def test_another_number_of_images_captures_a_new_graph() -> None:
    cuda = FakeCuda()
    with engine_on(cuda, (1, 2, 4)) as engine:
        for count in (2, 4, 4, 4, 4, 2, 2, 2, 2, 1):
            images = images_of(count, count)
            assert_prediction(engine.infer(images), images)
            assert cuda.graphs <= 2
    assert cuda.graphs == 0


def test_the_networks_gpu_time_is_measured() -> None:
    with engine_on(FakeCuda()) as engine:
        engine.infer(images_of(1))
        assert engine.gpu_times.compute_ms > 0


def test_it_is_an_overlapping_engine() -> None:
    with engine_on(FakeCuda()) as engine:
        assert isinstance(engine, OverlappingEngine)


def test_closing_frees_everything_once() -> None:
    cuda = FakeCuda()
    engine = engine_on(cuda)
    assert cuda.held == 12  # two slots of images, map and score, on both sides
    engine.submit(images_of(2))
    engine.close()
    engine.close()
    assert (cuda.held, cuda.graphs, cuda.closed) == (0, 0, 1)
    with pytest.raises(EngineLost, match="is closed"):
        engine.infer(images_of(1))


CALLS = {"stream": 3, "event": 8, "pinned": 6, "memory": 6, "upload": 9, "infer": 9, "download": 18}


@pytest.mark.parametrize(
    ("call", "when"),
    [(call, when) for call, last in CALLS.items() for when in sorted({1, 2, last})],
)
def test_nothing_stays_allocated_after_any_failure(call: str, when: int) -> None:
    """The first calls are the constructor's, the last ones an inference's."""
    cuda = FakeCuda(fails={call: when})
    with pytest.raises(EngineLost, match=rf"scripted\.plan: the GPU failed: {call}"):
        with engine_on(cuda, graphs=False) as engine:
            for seed in range(4):
                engine.infer(images_of(2, seed))
    assert (cuda.held, cuda.graphs, cuda.closed) == (0, 0, 1)


def test_a_kernel_that_fails_later_ends_the_engine() -> None:
    """As an illegal address does: the launch succeeds, the wait reports it."""
    calls = iter(range(100))

    def network(images: Image) -> Prediction:
        if next(calls) == 8:
            raise CudaError("an illegal memory access was encountered")
        return predict(images)

    cuda = FakeCuda()
    engine = engine_on(cuda, network=network)
    with pytest.raises(EngineLost, match=r"illegal memory access.*Open it again"):
        for seed in range(4):
            engine.infer(images_of(1, seed))
    assert (cuda.held, cuda.closed) == (0, 1)
    with pytest.raises(EngineLost, match="is closed"):
        engine.submit(images_of(1))


def test_out_of_memory_says_what_to_do() -> None:
    def refuse(images: Image) -> Prediction:
        raise CudaError("cuMemAlloc failed: out of memory")

    with pytest.raises(EngineLost, match="smaller --batch"):
        engine_on(FakeCuda(), network=refuse)


def test_a_program_that_does_not_load_leaves_nothing() -> None:
    cuda = FakeCuda()

    def load() -> FakeProgram:
        raise CudaError("no context")

    with pytest.raises(EngineLost, match="no context"):
        TensorRTEngine("x", Manifest(method="m", size_hw=SIZE), cuda, load)
    assert (cuda.held, cuda.closed) == (0, 1)


def test_infer_and_collect_check_the_submitted_batches() -> None:
    with engine_on(FakeCuda()) as engine:
        with pytest.raises(ValueError, match="no batch was submitted"):
            engine.collect()
        engine.submit(images_of(1))
        with pytest.raises(ValueError, match="collect the submitted batches"):
            engine.infer(images_of(1))
        assert_prediction(engine.collect(), images_of(1))


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 4, 6, 3), np.float32),
        np.zeros((1, 6, 4, 3), np.uint8),
        np.zeros((4, 6, 3), np.uint8),
    ],
    ids=["float", "turned", "no batch"],
)
def test_a_batch_that_breaks_the_contract_raises_and_keeps_the_engine_open(batch: Image) -> None:
    with engine_on(FakeCuda()) as engine:
        with pytest.raises(ValueError, match="expects uint8"):
            engine.infer(batch)
        assert_prediction(engine.infer(images_of(1)), images_of(1))


def test_another_thread_may_use_and_close_it() -> None:
    cuda = FakeCuda()
    engine = engine_on(cuda)
    found: list[Prediction] = []

    def work() -> None:
        found.append(engine.infer(images_of(3)))
        engine.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=10)
    assert_prediction(found[0], images_of(3))
    assert cuda.held == 0


def test_memory_does_not_grow_with_inferences() -> None:
    cuda = FakeCuda()
    with engine_on(cuda) as engine:
        held = cuda.held
        for seed in range(500):
            engine.infer(images_of(2, seed))
        assert (cuda.held, cuda.graphs) == (held, 2)
