"""The comparison with other tools: what is compared, and when it is refused."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent.parent / "benchmarks"


@pytest.fixture
def neighbours(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("bench_neighbours")


def _samples(neighbours: Any, **scores: float) -> dict[str, dict[str, list[float]]]:
    return {
        one.name: {
            "ms": [100.0, 40.0, 30.0],
            "processor_ms": [9.0, 9.0, 9.0],
            "scores": [scores.get(one.name.replace(" ", "_"), 0.5)] * 3,
        }
        for one in neighbours.CONTENDERS
    }


def test_a_ratio_is_the_median_of_the_rounds(neighbours: Any) -> None:
    samples = _samples(neighbours)
    samples["edge-ad int8"]["ms"] = [10.0, 20.0, 10.0]
    apart = dict.fromkeys(samples, 0.0)
    figures = neighbours.summarize(samples, apart, "ms")
    assert figures["anomalib Torch"]["int8_times_faster"] == 3
    assert figures["edge-ad int8"]["int8_times_faster"] == 1


def test_other_weights_are_refused(neighbours: Any) -> None:
    with pytest.raises(SystemExit, match=r"naive loop: scores differ by 0\.1"):
        neighbours.check_scores(_samples(neighbours, naive_loop=0.6))


def test_coarser_arithmetic_may_differ(neighbours: Any) -> None:
    samples = _samples(neighbours, anomalib_OpenVINO=0.52)
    assert neighbours.check_scores(samples)["anomalib OpenVINO"] == pytest.approx(0.02)


def test_every_contender_has_a_way_to_run(neighbours: Any) -> None:
    kinds = sys.modules["neighbour_runner"].KINDS
    assert {one.kind for one in neighbours.CONTENDERS} == set(kinds)


def test_pip_is_not_counted_as_part_of_a_tool(neighbours: Any, tmp_path: Path) -> None:
    packages = tmp_path / "tool" / "lib" / "python3.11" / "site-packages"
    for name, size in (("tool/net.so", 2 << 20), ("pip/big.py", 9 << 20), ("one.py", 1 << 20)):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_bytes(bytes(size))
    assert neighbours.install_mib(tmp_path, "tool") == 3


def test_files_are_judged_one_by_one(neighbours: Any) -> None:
    runner = sys.modules["neighbour_runner"]
    answer = runner.measure(lambda file: (float(file), True), ["1", "2"])
    assert answer["scores"] == [1, 2]
    assert len(answer["ms"]) == len(answer["processor_ms"]) == 2
