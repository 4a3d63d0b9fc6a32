"""Engines on ONNX Runtime: any CPU, no other package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_ad.engine.base import INPUT, MAP, SCORE, Prediction
from edge_ad.engine.onnx_file import OnnxFileEngine, Tensors, check_contract
from edge_ad.engine.options import DEFAULT_OPTIONS, Device, EngineOptions
from edge_ad.engine.thread_variants import session_options, write_optimised
from edge_ad.errors import EdgeAdError, EngineLost, IncompatibleError, MissingExtra
from edge_ad.frame import Image
from edge_ad.machine.memory import return_freed_memory
from edge_ad.manifest import METADATA_KEY, Manifest, manifest_from_json, no_manifest
from edge_ad.onnx_graph.wire import NotOnnxError, check_is_onnx

if TYPE_CHECKING:
    import onnxruntime as ort


class OnnxRuntimeEngine(OnnxFileEngine):
    """An ONNX file under ONNX Runtime, on the CPU or an NVIDIA GPU.

    Raises IncompatibleError when the file is not ONNX, has no manifest, its inputs and outputs
    do not match the contract, or the device is not available.
    """

    def __init__(self, path: Path, options: EngineOptions = DEFAULT_OPTIONS) -> None:
        self.name = str(path)
        self._device = options.device
        self.session = self._open(path, options)
        self.manifest = _read_manifest(self.session, path)
        check_contract(_tensors(self.session), self.manifest, path)
        return_freed_memory()
        self._warm_up()

    def close(self) -> None:
        self.__dict__.pop("session", None)

    def _open(self, path: Path, options: EngineOptions) -> ort.InferenceSession:
        return open_session(path, options)

    def _run(self, batch: Image) -> Prediction:
        try:
            if self._device == "cuda":
                return run_bound(self.session, batch)
            maps, scores = self.session.run([MAP, SCORE], {INPUT: batch})
        except Exception as error:  # ONNX Runtime's errors share no public base class
            kind = EngineLost if self._device == "cuda" else EdgeAdError
            raise kind(f"{self.name}: ONNX Runtime failed: {error}") from error
        return Prediction(maps, scores)


def run_bound(session: ort.InferenceSession, batch: Image) -> Prediction:
    """Run through an IO binding: one upload before, and one download after."""
    binding = session.io_binding()
    binding.bind_cpu_input(INPUT, batch)
    for name in (MAP, SCORE):
        binding.bind_output(name)
    session.run_with_iobinding(binding)
    maps, scores = binding.copy_outputs_to_cpu()
    return Prediction(maps, scores)


def open_session(
    path: Path, options: EngineOptions, optimised: Path | None = None
) -> ort.InferenceSession:
    """Return a session, and write its optimised graph to `optimised`, with its weights beside it.

    Raises IncompatibleError when it cannot be loaded, or the device is not available.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingExtra(f"running {path.name}", "onnxruntime", "onnxruntime") from error
    settings = session_options(options.threads)
    if optimised is not None:
        write_optimised(settings, optimised)
    provider = _provider(ort.get_available_providers(), options.device)
    try:
        session = ort.InferenceSession(path, settings, providers=[provider])
    except Exception as error:  # as above
        raise IncompatibleError(
            f"{path}: ONNX Runtime {ort.__version__} cannot load it: {_load_problem(path, error)}. "
            "Export it again."
        ) from error
    if provider not in session.get_providers():  # it falls back to the CPU without an error
        raise IncompatibleError(
            f"{path}: ONNX Runtime cannot start {provider}: there is no NVIDIA driver, or the CUDA "
            "libraries do not match it. See: edge-ad doctor. Or run with --device cpu."
        )
    return session


def _load_problem(path: Path, error: Exception) -> str:
    """Return what is wrong with the file itself, else ONNX Runtime's first line."""
    try:
        check_is_onnx(path.read_bytes())
    except (NotOnnxError, OSError) as problem:
        return str(problem)
    return str(error).strip().splitlines()[0].rstrip(".")


def _provider(available: list[str], device: Device) -> str:
    """Return ONNX Runtime's name for a device. Raises IncompatibleError if it is not built in."""
    name = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device]
    if name not in available:
        raise IncompatibleError(
            f"this ONNX Runtime has no {name}. Replace the package onnxruntime with "
            "onnxruntime-gpu, or run with --device cpu."
        )
    return name


def _read_manifest(session: ort.InferenceSession, path: Path) -> Manifest:
    try:
        metadata = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError as error:
        raise IncompatibleError(
            f"{path}: its metadata is not UTF-8 ({error}). Export it again."
        ) from error
    if METADATA_KEY not in metadata:
        raise no_manifest(path)
    return manifest_from_json(metadata[METADATA_KEY], str(path))


def _tensors(session: ort.InferenceSession) -> Tensors:
    """Return names, types and shapes."""
    return {
        tensor.name: (
            tensor.type,
            tuple(side if isinstance(side, int) else None for side in tensor.shape),
        )
        for tensor in (*session.get_inputs(), *session.get_outputs())
    }
