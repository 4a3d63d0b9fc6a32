"""The sidecar beside an engine: threshold, and of a plan what must match before it is loaded."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

from edge_ad.errors import IncompatibleError
from edge_ad.files import sha256, write_text
from edge_ad.geometry import Geometry
from edge_ad.manifest import Sidecar, Threshold, validated
from edge_ad.plan_record import BuildOptions, build_command
from edge_ad.strict_yaml import dump_yaml, load_yaml
from edge_ad.triton import SIDECAR_PARAMETER, ServedModel, served_model


def sidecar_path(engine: Path) -> Path:
    """Return the sidecar of an engine: `destseg.onnx` -> `destseg.onnx.yaml`."""
    return engine.with_name(engine.name + ".yaml")


def load_sidecar(engine: Path, engine_digest: str | None = None) -> Sidecar | None:
    """Return the sidecar of an engine file, or None when there is none.

    `engine_digest` is the file's sha256 where it is known. Raises IncompatibleError when the
    sidecar is malformed, was written for another engine file, or its threshold was edited.
    """
    served = served_model(engine)
    if served is not None:
        return _served_sidecar(served)
    path = sidecar_path(engine)
    if not path.exists():
        return None
    try:
        content = _read_yaml(path)
        sidecar = validated(Sidecar, json.dumps(content), str(path))
    except IncompatibleError as error:
        raise IncompatibleError(f"{error} {_fix(engine, None)}") from error
    actual = engine_digest or sha256(engine)
    if sidecar.engine_sha256 != actual:
        size = _format_size(engine, sidecar)
        raise IncompatibleError(
            f"{path} was written for another engine: expected sha256 {sidecar.engine_sha256[:12]}, "
            f"got {actual[:12]}{size} of {engine.name}. {_fix(engine, sidecar)}"
        )
    if sidecar.threshold and sidecar.threshold_sha256 not in (None, _digest(content["threshold"])):
        raise IncompatibleError(
            f"{path}: its threshold was changed since edge-ad stored it, so what it guarantees "
            "is not known. Restore the file: another threshold is given with --threshold, or as "
            f"threshold: in the line file. {_fix(engine, sidecar)}"
        )
    return sidecar.replace(threshold_sha256=None)


def _served_sidecar(served: ServedModel) -> Sidecar | None:
    """Return the sidecar that `edge-ad export-triton` put into the model's configuration."""
    from edge_ad.triton_client import TritonClient  # most lines need no HTTP

    client = TritonClient(served)
    try:
        parameters = client.config().get("parameters") or {}
        text = parameters[SIDECAR_PARAMETER]["string_value"]
    except (KeyError, TypeError):
        return None
    finally:
        client.close()
    return validated(Sidecar, text, str(served))


def engine_sha256(engine: Path) -> str:
    """Return the digest of an engine file; of a served model, that of the exported file."""
    if served_model(engine) is None:
        return sha256(engine)
    sidecar = load_sidecar(engine)
    if sidecar is None:
        raise IncompatibleError(
            f"{served_model(engine)}: the model's configuration has no parameter "
            f"{SIDECAR_PARAMETER}, so it is not known which engine it is. Make the model "
            "repository again with: edge-ad export-triton"
        )
    return sidecar.engine_sha256


def set_threshold(engine: Path, threshold: Threshold) -> Path:
    """Store a threshold in the sidecar of an engine and return the sidecar's path.

    The rest of a plan's sidecar is kept.
    """
    existing = load_sidecar(engine) if _is_plan(engine) else None
    sidecar = existing or Sidecar(engine_sha256=sha256(engine))
    return save_sidecar(engine, sidecar.replace(threshold=threshold))


def save_sidecar(engine: Path, sidecar: Sidecar) -> Path:
    """Write the sidecar beside its engine and return its path."""
    path = sidecar_path(engine)
    content = sidecar.to_dict(without_none=True)
    if sidecar.threshold:
        content["threshold_sha256"] = _digest(content["threshold"])
    write_text(path, dump_yaml(content))
    return path


def check_geometry(engine: Path, threshold: Threshold, used: Geometry, trained: Geometry) -> None:
    """Raise IncompatibleError when a threshold was set for another geometry than the one used.

    `trained` is the geometry stored with the engine, which the options of a command change.
    """
    differences = used.differences(threshold.geometry)
    if not differences:
        return
    before = shlex.join(threshold.geometry.flags(trained)) or "no geometry options"
    command = _threshold_command(engine, threshold, used.flags(trained))
    raise IncompatibleError(
        f"{engine}: its threshold was set for another geometry and guarantees nothing for this one "
        f"({'; '.join(differences)}). Use the geometry of the threshold, with {before}; or set the "
        f"threshold for this one, with: {command}  (or give --threshold)"
    )


def _threshold_command(engine: Path, threshold: Threshold, flags: list[str]) -> str:
    """Return the command that sets a threshold with the same guarantee."""
    rate, confidence = f"{threshold.false_alarm_rate:g}", f"{threshold.confidence:g}"
    command = ["edge-ad", "threshold", str(engine), "--images", "GOOD_DIR"]
    command += ["--false-alarm-rate", rate, "--confidence", confidence]
    return shlex.join(command + flags)


def _is_plan(engine: Path) -> bool:
    return engine.suffix == ".plan"


def _format_size(engine: Path, sidecar: Sidecar) -> str:
    """Describe a plan of the wrong size, probably a copy that was cut off."""
    size = engine.stat().st_size
    if sidecar.build is None or sidecar.build.plan_bytes == size:
        return ""
    return f" and {size} bytes instead of {sidecar.build.plan_bytes}"


def _fix(engine: Path, sidecar: Sidecar | None) -> str:
    if not _is_plan(engine):
        return f"Set the threshold again with: edge-ad threshold {engine} --images GOOD_DIR"
    build = sidecar.build if sidecar else None
    onnx = engine.with_name(build.onnx) if build else engine.with_suffix(".onnx")
    options = build.options if build else BuildOptions()
    return f"Copy plan and sidecar again, or build with: {build_command(onnx, engine, options)}"


def _read_yaml(path: Path) -> Any:
    """Return the content of a YAML file, of types that JSON has."""
    try:
        content = load_yaml(path)
        json.dumps(content, allow_nan=False)
    except (OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise IncompatibleError(f"{path} is not readable YAML: {reason}.") from error
    return content


def _digest(threshold: object) -> str:
    """Return the sha256 of a threshold's content; the order of its keys does not matter."""
    text = json.dumps(threshold, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
