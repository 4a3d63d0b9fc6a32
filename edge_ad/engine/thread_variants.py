"""Open an ONNX file several times with other threads, over one copy of its weights.

ONNX Runtime fixes the threads of a session when it opens it, and each session loads weights and
keeps working memory of its own. Here the optimised graph is written once with its weights beside
it; every further session maps that file instead of reading it, and all share one arena.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from edge_ad.engine.base import INPUT, MAP, SCORE
from edge_ad.frame import Image
from edge_ad.machine.host import usable_cores

if TYPE_CHECKING:
    import onnxruntime as ort

_WEIGHTS = "weights.bin"
_MOST_IN_GRAPH = 8 << 20  # bytes; a larger one has its weights inside, which would multiply
_SAME_AS_REQUESTED = 1  # how the arena grows: powers of two would waste up to a half

_arena_lock = threading.Lock()
_has_arena = False


def thread_settings() -> tuple[tuple[int, bool], ...]:
    """Return the settings worth trying, as threads and whether they spin; the first is the default.

    0 threads are one per core, each pinned to its core: fastest alone, and slowest where another
    process has that core. A given number of threads is not pinned.
    """
    cores = physical_cores()
    return ((0, True), (cores, False), (1, True)) if cores > 1 else ((0, True),)


def physical_cores(root: Path = Path("/sys/devices/system/cpu")) -> int:
    """Return the cores that this process may use; hardware threads of one core count once."""
    if not hasattr(os, "sched_getaffinity"):
        return usable_cores()
    siblings = set()
    for number in os.sched_getaffinity(0):
        try:
            siblings.add((root / f"cpu{number}/topology/thread_siblings_list").read_text())
        except OSError:
            return usable_cores()
    return len(siblings)


def open_variants(
    path: Path, reference: ort.InferenceSession, batch: Image
) -> list[ort.InferenceSession]:
    """Return a session for each of `thread_settings`, in their order.

    Raises ValueError when one differs from `reference` in a single bit of its outputs for `batch`
    or would not share its weights, OSError without room for a temporary copy of the weights, and
    what ONNX Runtime raises.
    """
    _make_arena()
    with TemporaryDirectory(prefix="edge-ad-") as folder:
        graph = Path(folder) / "graph.onnx"
        _write_optimised(path, graph)
        if graph.stat().st_size > _MOST_IN_GRAPH:
            raise ValueError("this ONNX Runtime does not write weights to a file beside the graph")
        sessions = [_map(graph, threads, spin=spin) for threads, spin in thread_settings()]
    expected = reference.run([MAP, SCORE], {INPUT: batch})
    for session in sessions:  # the files are gone; what is mapped stays
        outputs = session.run([MAP, SCORE], {INPUT: batch})
        if not all(map(np.array_equal, outputs, expected)):
            raise ValueError("another number of threads changes the outputs")
    return sessions


def _write_optimised(path: Path, graph: Path) -> None:
    """Write the graph as ONNX Runtime optimises it for this processor, its weights beside it."""
    import onnxruntime as ort

    settings = session_options()
    settings.optimized_model_filepath = str(graph)
    for key, value in (
        ("optimized_model_external_initializers_file_name", _WEIGHTS),
        ("optimized_model_external_initializers_min_size_in_bytes", "1024"),
        ("save_external_prepacked_constant_initializers", "1"),
    ):
        settings.add_session_config_entry(f"session.{key}", value)
    ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])


def _map(graph: Path, threads: int, *, spin: bool) -> ort.InferenceSession:
    import onnxruntime as ort

    settings = session_options(threads)
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.add_session_config_entry("session.use_env_allocators", "1")
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    return ort.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])


def session_options(threads: int = 0) -> ort.SessionOptions:
    """Return the options of every session."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3  # errors only: its warnings are about its own fusions
    settings.enable_mem_pattern = False  # it takes a second block as large as the first
    return settings


def _make_arena() -> None:
    """Make the arena that all mapped sessions of this process share, once."""
    import onnxruntime as ort

    global _has_arena  # as global as the arena, which ONNX Runtime has one of
    with _arena_lock:
        if _has_arena:
            return
        memory = ort.OrtMemoryInfo(
            "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
        )
        config = ort.OrtArenaCfg({"arena_extend_strategy": _SAME_AS_REQUESTED})
        ort.create_and_register_allocator(memory, config)
        _has_arena = True
