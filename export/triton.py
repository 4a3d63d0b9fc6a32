"""Write engines as a model repository of NVIDIA's Triton Inference Server.

The configuration is built with NVIDIA's own schema, which the package tritonclient carries, and
says all that Triton would otherwise guess: tensors, batching, instances, warm-up.
https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edge_ad.engine import EngineOptions, open_engine
from edge_ad.engine.base import DEFAULT_MAX_BATCH, INPUT, MAP, SCORE
from edge_ad.engine.tensorrt.preflight import read_plan_sidecar
from edge_ad.errors import IncompatibleError, MissingExtra, UsageError
from edge_ad.files import sha256
from edge_ad.frame import Image
from edge_ad.images import read_image
from edge_ad.manifest import Manifest, Sidecar
from edge_ad.preprocess import Preprocess
from edge_ad.sidecar import load_sidecar
from edge_ad.triton import MANIFEST_PARAMETER, SIDECAR_PARAMETER

_CONFIG = "config.pbtxt"  # what makes a folder a model of the server
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_WARM_UP = "part"  # name of the file and of the entry
_WARM_UP_CALLS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonConfig:
    """Where and how a model is served.

    `max_batch` bounds a call of graphs that take any number of images; `queue_delay_us` is how long
    the server waits for more images of other clients. `image` warms the model up. On `gpus`, each
    has `instances`; without, they are on the CPU for ONNX files, on every GPU for plans.
    """

    repository: Path
    name: str
    version: int = 1
    max_batch: int = DEFAULT_MAX_BATCH
    queue_delay_us: int = 0
    instances: int = 1
    gpus: tuple[int, ...] = ()
    image: Path | None = None
    overwrite: bool = False


def export_triton(engines: Sequence[Path], config: TritonConfig) -> dict[str, Any]:
    """Write a model, all of it or nothing, and return what was written.

    Several engines are plans of one graph for GPUs of different compute capability. An ONNX file is
    run once with the image. Raises UsageError for a model that exists, unless `overwrite`, and
    for engines that do not belong together.
    """
    schema = load_schema()
    files = _files(engines)
    manifest, sidecar = _description(engines)
    target = config.repository / config.name
    if not _NAME.fullmatch(config.name):
        raise UsageError(f"--name {config.name}: expected letters, digits, '.', '_' and '-'.")
    if target.exists() and not config.overwrite:
        raise UsageError(f"{target} exists. Choose another --name, or give --overwrite.")
    batch = _warm_up_batch(manifest, config)
    if target.exists() and not (target / _CONFIG).is_file():
        raise UsageError(
            f"{target} is not a model's folder: it has no {_CONFIG}. Choose another --name."
        )
    message = _message(schema, files, manifest, sidecar, config)
    staging = target.with_name(f".{config.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        _write(staging, files, message, batch, config.version)
        _check(staging, schema, config)
        _replace(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return {
        "model": str(target),
        "name": config.name,
        "version": config.version,
        "files": sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()),
        "backend": message.backend,
        "max_batch": message.max_batch_size,
        "threshold": sidecar.threshold.image if sidecar.threshold else None,
        "warm_up": "image" if batch is not None else "random",
    }


def load_schema() -> ModuleType:
    """Return the module of ModelConfig. Raises MissingExtra when a package is missing.

    tritonclient.grpc itself would import grpc, which nothing here needs.
    """
    for package in ("google.protobuf", "tritonclient"):
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise MissingExtra("export-triton", package.split(".")[0], "triton")
    name = "_edge_ad_model_config_pb2"
    if name not in sys.modules:
        spec = importlib.util.find_spec("tritonclient")
        assert spec is not None and spec.submodule_search_locations
        file = Path(spec.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
        module_spec = importlib.util.spec_from_file_location(name, file)
        assert module_spec is not None and module_spec.loader is not None
        module = importlib.util.module_from_spec(module_spec)
        module_spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


def parse_config(path: Path, schema: ModuleType) -> Any:
    """Parse a config.pbtxt. Raises IncompatibleError when it does not match the schema."""
    from google.protobuf import text_format

    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), schema.ModelConfig())
    except text_format.ParseError as error:
        raise IncompatibleError(f"{path}: not a model configuration: {error}.") from error


def _files(engines: Sequence[Path]) -> dict[str, Path]:
    """Return the files of the version by name. Raises UsageError for a wrong set of engines."""
    for path in engines:
        if path.suffix not in (".onnx", ".plan"):
            raise UsageError(f"{path}: expected an engine that ends in .onnx or .plan.")
        if not path.is_file():
            raise UsageError(f"no engine at {path}.")
    if len(engines) == 1:
        return {f"model{engines[0].suffix}": engines[0]}
    if any(path.suffix != ".plan" for path in engines):
        raise UsageError("several engines are plans of one graph for different GPUs; got .onnx.")
    capabilities = {_capability(path): path for path in engines}
    if len(capabilities) < len(engines):
        raise UsageError(
            "several of the plans are for the same compute capability: "
            f"{', '.join(f'{path} {_capability(path)}' for path in engines)}. Give one for each."
        )
    return {f"model-{capability}.plan": path for capability, path in capabilities.items()}


def _capability(plan: Path) -> str:
    build = read_plan_sidecar(plan).build
    assert build is not None
    if build.runtime != "tensorrt" or not build.compute_capability:
        raise UsageError(
            f"{plan}: Triton runs plans of TensorRT for a known GPU; this one is of "
            f"{build.runtime}{'' if build.compute_capability else ', for no GPU in particular'}. "
            "Build it on that GPU with: edge-ad build --runtime tensorrt"
        )
    return build.compute_capability


def _description(engines: Sequence[Path]) -> tuple[Manifest, Sidecar]:
    """Return what all engines are; the threshold is that of the first."""
    if engines[0].suffix == ".plan":
        sidecars = [read_plan_sidecar(path) for path in engines]
        for path in engines:
            _capability(path)
        first = sidecars[0]
        assert first.manifest is not None
        graphs = {sidecar.build.onnx_sha256 for sidecar in sidecars if sidecar.build}
        if len(graphs) > 1:
            raise UsageError("the plans are of different graphs. Build all from one ONNX file.")
        return first.manifest, first
    with open_engine(engines[0], EngineOptions(threads=1)) as engine:
        manifest = engine.manifest
    stored = load_sidecar(engines[0])
    return manifest, stored or Sidecar(engine_sha256=sha256(engines[0]))


def _warm_up_batch(manifest: Manifest, config: TritonConfig) -> Image | None:
    """Return the image as the model's input, uint8 (n, H, W, 3), None without an image."""
    if config.image is None:
        return None
    image = read_image(config.image, manifest.bit_depth)
    tiles = Preprocess(manifest.size_hw, manifest.geometry)(image)
    return np.resize(tiles, (manifest.batch or 1, *tiles.shape[1:]))


def _message(
    schema: ModuleType,
    files: dict[str, Path],
    manifest: Manifest,
    sidecar: Sidecar,
    config: TritonConfig,
) -> Any:
    """Return the ModelConfig."""
    plans = next(iter(files)).endswith(".plan")
    message = schema.ModelConfig(name=config.name, backend="tensorrt" if plans else "onnxruntime")
    if len(files) == 1:
        message.default_model_filename = next(iter(files))
    else:
        for name in files:
            capability = name.removeprefix("model-").removesuffix(".plan")
            message.cc_model_filenames[capability] = name
    _add_tensors(message, schema, manifest, config)
    _add_instances(message, schema, config, plans=plans)
    _add_warm_up(message, schema, manifest, real=config.image is not None)
    message.version_policy.specific.versions.append(config.version)
    message.parameters[MANIFEST_PARAMETER].string_value = manifest.to_json()
    described = sidecar.replace(manifest=None, build=None).to_json(without_none=True)
    message.parameters[SIDECAR_PARAMETER].string_value = described
    return message


def _add_tensors(
    message: Any, schema: ModuleType, manifest: Manifest, config: TritonConfig
) -> None:
    """Add input, outputs and batching; without a batch dimension of its own, dims are exact."""
    height, width = manifest.size_hw
    own = [] if manifest.batch is None else [manifest.batch]
    message.max_batch_size = config.max_batch if manifest.batch is None else 0
    message.input.add(name=INPUT, data_type=schema.TYPE_UINT8, dims=[*own, height, width, 3])
    message.output.add(name=MAP, data_type=schema.TYPE_FP32, dims=[*own, height, width])
    # a scalar per image: without a batch dimension there are no dims, so one of 1 is reshaped away
    score = message.output.add(name=SCORE, data_type=schema.TYPE_FP32, dims=own or [1])
    if not own:
        score.reshape.SetInParent()
    if manifest.batch is None:
        message.dynamic_batching.preferred_batch_size.append(config.max_batch)
        message.dynamic_batching.max_queue_delay_microseconds = config.queue_delay_us


def _add_instances(message: Any, schema: ModuleType, config: TritonConfig, *, plans: bool) -> None:
    on_gpu = plans or bool(config.gpus)
    kind = schema.ModelInstanceGroup.KIND_GPU if on_gpu else schema.ModelInstanceGroup.KIND_CPU
    message.instance_group.add(count=config.instances, kind=kind, gpus=config.gpus)


def _add_warm_up(message: Any, schema: ModuleType, manifest: Manifest, *, real: bool) -> None:
    """Add the calls that are made before the model counts as ready."""
    own = [] if manifest.batch is None else [manifest.batch]
    warm_up = message.model_warmup.add(name=_WARM_UP, batch_size=1, count=_WARM_UP_CALLS)
    tensor = warm_up.inputs[INPUT]
    tensor.data_type = schema.TYPE_UINT8
    tensor.dims.extend([*own, *manifest.size_hw, 3])
    if real:
        tensor.input_data_file = _WARM_UP
    else:
        tensor.random_data = True


def _write(
    folder: Path, files: dict[str, Path], message: Any, batch: Image | None, version: int
) -> None:
    from google.protobuf import text_format

    (folder / str(version)).mkdir(parents=True)
    for name, path in files.items():
        shutil.copyfile(path, folder / str(version) / name)
    text = text_format.MessageToString(message)
    (folder / _CONFIG).write_text(text, encoding="utf-8")
    if batch is not None:
        (folder / "warmup").mkdir()
        (folder / "warmup" / _WARM_UP).write_bytes(batch.tobytes())


def _check(folder: Path, schema: ModuleType, config: TritonConfig) -> None:
    """Read the configuration back, and load a copied ONNX file from where it lies now."""
    parsed = parse_config(folder / _CONFIG, schema)
    copied = folder / str(config.version) / parsed.default_model_filename
    if copied.suffix == ".onnx":
        open_engine(copied, EngineOptions(threads=1)).close()


def _replace(staging: Path, target: Path) -> None:
    """Put the new model in place of the old, which stays where that fails."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    try:
        staging.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
