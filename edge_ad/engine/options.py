"""The options of an engine: for `open_engine`, for a line, and for every command that runs one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from edge_ad.errors import UsageError

Device = Literal["cpu", "cuda"]
CpuRuntime = Literal["onnxruntime", "openvino"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine is run. A new option is a new field here; the commands derive theirs from it.

    Of ONNX files, `runtime` computes them, `device` is where ONNX Runtime does and `threads` bounds
    the arithmetic threads; 0 means one per core, or in a line on ONNX Runtime as many as are
    fastest at the moment. Plans run on the first NVIDIA GPU for any `device`; of plans,
    `trust_host_code` loads those that carry program code, and `cuda_graph` replays the launches as
    one CUDA graph. The text beside each type is the option's help.

    Raises UsageError for a device or runtime that there is not.
    """

    device: Annotated[
        Device, "Where ONNX Runtime, and torch for weights, compute; plans run on the GPU."
    ] = "cpu"
    runtime: Annotated[
        CpuRuntime, "What computes ONNX files; OpenVINO is often faster in int8 on a PC's CPU."
    ] = "onnxruntime"
    threads: Annotated[
        int, "Threads for ONNX files. Default: one per core; a line adapts them to the load."
    ] = 0
    trust_host_code: Annotated[
        bool, "Load a version-compatible plan, which carries program code."
    ] = False
    cuda_graph: Annotated[bool, "Replay a plan's launches as one CUDA graph."] = True

    def __post_init__(self) -> None:
        for name, kinds in (("device", get_args(Device)), ("runtime", get_args(CpuRuntime))):
            if (value := getattr(self, name)) not in kinds:
                raise UsageError(f"{name} is {' or '.join(kinds)}, got '{value}'.")


DEFAULT_OPTIONS = EngineOptions()
