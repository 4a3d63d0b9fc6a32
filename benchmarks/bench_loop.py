"""Measure the loop against the bare ONNX Runtime session on the same tensors, alternately.

    python benchmarks/bench_loop.py [--engine FILE --camera URI] [--rounds 7]

A round is one pass of the session over the frames as tensors, then one pass of `edge-ad run`'s
loop over the footage, decoding included. The ratio is taken round by round, because machines are
noisy; its median is reported.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import onnxruntime as ort
from results import write_result  # the script's own folder is on the path

from edge_ad.bench.loop import load_batches
from edge_ad.engine import open_engine
from edge_ad.engine.base import INPUT, MAP, SCORE
from edge_ad.frame import Image
from edge_ad.line.config import LineConfig
from edge_ad.line.open import open_line

SAMPLE = Path(__file__).resolve().parent.parent / "edge_ad" / "sample"


def session_pass(session: ort.InferenceSession, batches: list[Image]) -> float:
    """Return the frames per second of the bare session."""
    began = time.perf_counter()
    for batch in batches:
        session.run([MAP, SCORE], {INPUT: batch})
    return len(batches) / (time.perf_counter() - began)


def loop_pass(config: LineConfig) -> tuple[float, dict[str, float]]:
    """Return the frames per second of the loop, and its latency percentiles."""
    with open_line(config, []) as line:
        line.start()
        assert line.wait(3600)
        result = line.finish()
        line.raise_errors()
    return result["fps"], result["latency_ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", type=Path, default=SAMPLE / "engine.onnx")
    parser.add_argument("--camera", default=str(SAMPLE / "footage.mp4"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--name", default="sample")
    options = parser.parse_args()
    config = LineConfig((options.camera,), options.engine)
    with open_engine(options.engine) as engine:
        batches = load_batches(options.camera, engine, 100_000)
        precision = engine.manifest.precision
    session = ort.InferenceSession(options.engine, providers=["CPUExecutionProvider"])
    session_pass(session, batches[:20])
    rounds = []
    for _ in range(options.rounds):
        bare, (loop, latency) = session_pass(session, batches), loop_pass(config)
        rounds.append((bare, loop))
        print(f"session {bare:7.2f}/s   loop {loop:7.2f}/s   ratio {loop / bare:.3f}")
    metrics = {
        "session_fps": round(median(bare for bare, _ in rounds), 2),
        "loop_fps": round(median(loop for _, loop in rounds), 2),
        "ratio": round(median(loop / bare for bare, loop in rounds), 4),
        "frames": len(batches),
        "latency_ms": latency,
    }
    samples = {"session_fps": [bare for bare, _ in rounds], "loop_fps": [r[1] for r in rounds]}
    print(write_result("loop", options.name, precision, metrics=metrics, samples=samples))


if __name__ == "__main__":
    main()
