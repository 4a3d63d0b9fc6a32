"""Open an ONNX file several times with other threads, over one copy of its weights.

ONNX Runtime fixes the threads of a session when it opens it, and each session loads weights and
keeps its own working memory. Here the optimised graph is written once with its weights beside
it; that file is mapped, every session is given the same weights, and all share one arena.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_ad.engine.base import INPUT, MAP, SCORE
from edge_ad.frame import Image
from edge_ad.machine.host import adds_int8_exactly, usable_cores
from edge_ad.onnx_graph.external import external_weights

if TYPE_CHECKING:
    import onnxruntime as ort

GRAPH, WEIGHTS = "graph.onnx", "weights.bin"  # the files of an optimised graph
_MOST_IN_GRAPH = 8 << 20  # bytes; a larger one has its weights inside, which would multiply
_CPUS = Path("/sys/devices/system/cpu")
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


def physical_cores() -> int:
    """Return the cores that this process may use; hardware threads of one core count once."""
    if not hasattr(os, "sched_getaffinity"):
        return usable_cores()
    siblings = set()
    for number in os.sched_getaffinity(0):
        try:
            siblings.add((_CPUS / f"cpu{number}/topology/thread_siblings_list").read_text())
        except OSError:
            return usable_cores()
    return len(siblings)


def map_variants(graph: Path) -> list[ort.InferenceSession]:
    """Return a session for each of `thread_settings` over an optimised graph, in their order.

    The files may be deleted then: what is mapped stays. Raises ValueError for a graph that would
    not share its weights, and what ONNX Runtime raises.
    """
    if graph.stat().st_size > _MOST_IN_GRAPH:
        raise ValueError("this ONNX Runtime does not write weights to a file beside the graph")
    _make_arena()
    weights = _map_weights(graph)
    return [_open(graph, weights, threads, spin=spin) for threads, spin in thread_settings()]


def check_equal(
    sessions: Sequence[ort.InferenceSession], batch: Image, turn: AbstractContextManager[object]
) -> None:
    """Raise ValueError when the outputs for a batch differ from the first session's in one bit.

    Each runs in its own turn.
    """
    expected = None
    for session in sessions:
        with turn:
            outputs = session.run([MAP, SCORE], {INPUT: batch})
        expected = expected or outputs
        if not all(map(np.array_equal, outputs, expected)):
            raise ValueError("another number of threads changes the outputs")


def write_optimised(settings: ort.SessionOptions, graph: Path) -> None:
    """Let a session write its graph as optimised for this processor, the weights beside it."""
    settings.optimized_model_filepath = str(graph)
    for key, value in (
        ("optimized_model_external_initializers_file_name", WEIGHTS),
        ("optimized_model_external_initializers_min_size_in_bytes", "1024"),
    ):
        settings.add_session_config_entry(f"session.{key}", value)


def _map_weights(graph: Path) -> list[tuple[str, ort.OrtValue]]:
    """Return the weights beside a graph by name, in the pages of their file."""
    import onnxruntime as ort

    file = graph.with_name(WEIGHTS)
    if not file.exists():  # a graph without any
        return []
    content = np.memmap(file, np.uint8, "r")
    return [
        (
            weight.name,
            ort.OrtValue.ortvalue_from_numpy(
                content[weight.offset : weight.offset + weight.length]
                .view(weight.dtype)
                .reshape(weight.shape)
            ),
        )
        for weight in external_weights(graph.read_bytes())
    ]


def _open(
    graph: Path, weights: Sequence[tuple[str, ort.OrtValue]], threads: int, *, spin: bool
) -> ort.InferenceSession:
    import onnxruntime as ort

    settings = session_options(threads)
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.add_session_config_entry("session.use_env_allocators", "1")
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    for name, value in weights:
        settings.add_initializer(name, value)
    session = ort.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
    session.edge_ad_weights = weights  # they must live as long as the session
    return session


def session_options(threads: int = 0) -> ort.SessionOptions:
    """Return the options of every session.

    Where the processor would lose what exceeds 16 bits, ONNX Runtime is asked for kernels that do
    not, so that int8 scores are the same everywhere. On others these take three times as long.
    """
    import onnxruntime as ort

    settings = ort.SessionOptions()
    if not adds_int8_exactly():
        settings.add_session_config_entry("session.x64quantprecision", "1")
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
