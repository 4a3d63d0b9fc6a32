"""Page-locked memory on a GPU that shares the host's, on a fake one."""

from __future__ import annotations

import pytest

from edge_ad.engine import OverlappingEngine
from tests.engine.tensorrt.fake_cuda import FakeCuda
from tests.engine.tensorrt.test_pipeline import PROFILES, assert_prediction, engine_on, images_of


@pytest.mark.parametrize("profile", PROFILES, ids=str)
def test_an_integrated_gpu_works_in_the_hosts_memory_without_copies(
    profile: tuple[int, int, int],
) -> None:
    cuda = FakeCuda(integrated=True)
    with engine_on(cuda, profile) as engine:
        for seed in range(4):
            images = images_of(5, seed)
            assert_prediction(engine.infer(images), images)
        assert isinstance(engine, OverlappingEngine)
        first, second = images_of(1, 8), images_of(1, 9)
        engine.submit(first)
        engine.submit(second)
        assert_prediction(engine.collect(), first)
        assert_prediction(engine.collect(), second)
    assert {"upload", "download"}.isdisjoint(cuda.journal) and cuda.held == 0
