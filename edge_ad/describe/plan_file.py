"""A compiled plan: its sidecar, whether it runs here, and its layers where it can be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_ad.describe.plan_layers import layer_facts
from edge_ad.describe.sidecar import threshold_facts
from edge_ad.engine.tensorrt.preflight import check_plan, read_plan_sidecar
from edge_ad.engine.tensorrt.runtimes import TensorRT, first_error, messages
from edge_ad.errors import IncompatibleError


def facts(path: Path) -> dict[str, Any]:
    """What a plan's sidecar says, and what TensorRT says where the plan fits this machine.

    Raises IncompatibleError for a plan without a sidecar, or with another plan's.
    """
    sidecar = read_plan_sidecar(path)
    assert sidecar.manifest is not None and sidecar.build is not None
    graph, fault = _graph(path)
    return {
        "kind": "plan",
        "manifest": sidecar.manifest.model_dump(mode="json"),
        "build": sidecar.build.model_dump(mode="json"),
        "runs_here": {"fits": not fault, "fault": fault},
        "graph": graph,
        **threshold_facts(path),
    }


def _graph(path: Path) -> tuple[dict[str, Any] | None, str]:
    """The layers, or why the plan does not load here."""
    try:
        cleared = check_plan(path)
        return _loaded(cleared.trt, path), ""
    except IncompatibleError as error:
        return None, str(error)


def _loaded(trt: TensorRT, path: Path) -> dict[str, Any]:
    logger = messages(trt)
    engine = trt.Runtime(logger).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise IncompatibleError(f"{path}: TensorRT refuses it: {first_error(logger.errors)}")
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    memory = getattr(engine, "device_memory_size_v2", None)  # TensorRT 10.0 has the first one only
    if memory is None:
        memory = engine.device_memory_size
    return {**layer_facts(text), "device_memory_mib": round(memory / 2**20, 2)}
