"""What a model file expects, means and descends from.

A manifest travels inside an ONNX file (its `metadata_props`) and inside the weights file. Beside an
engine lies its sidecar, `<engine>.yaml`: what may change without a rebuild (the threshold), and for
compiled plans all that must match before they are loaded.
"""

from __future__ import annotations

import json
import logging
import shlex
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_ad.errors import IncompatibleError
from edge_ad.files import sha256, write_text
from edge_ad.geometry import Geometry
from edge_ad.plan_record import BuildOptions, BuildRecord, build_command
from edge_ad.precision import Precision

_log = logging.getLogger(__name__)
METADATA_KEY = "edge_ad.manifest"
Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Score(_Strict):
    """How the graph reduces a map to the image score: mean filter, then mean of the largest pixels.

    Written down so that the line can score again with ignored polygons left out.
    """

    top_k: Positive = 1
    mean_filter_px: Positive = 1


class Provenance(_Strict):
    """Where a file came from. `made_with` maps package names to versions."""

    made_with: dict[str, str] = {}
    created_utc: str = ""
    data_sha256: str = ""
    images: int = 0
    parent_sha256: str = ""
    notes: dict[str, str] = {}


class Manifest(_Strict):
    """What every room must know of a model to use it. `batch` None means any number of images."""

    schema_version: Literal[1] = 1
    method: str
    precision: Precision = "fp32"
    size_hw: tuple[Positive, Positive]
    batch: Positive | None = 1
    geometry: Geometry = Geometry()
    score: Score = Score()
    provenance: Provenance = Provenance()


class Threshold(_Strict):
    """Where the line rejects, in raw score units, and the promise behind it.

    With probability `confidence` at most `false_alarm_rate` of normal frames exceed `image`, as far
    as `images` independent normal frames can tell; likewise for `pixel` and a map's maximum.
    Scores depend on the geometry they were made with; None means that an older version set it and
    did not note which.
    """

    image: float
    pixel: float
    false_alarm_rate: Fraction
    confidence: Fraction
    images: Positive
    data_sha256: str = ""
    geometry: Geometry | None = None


class Sidecar(_Strict):
    """The YAML file beside an engine, bound to its bytes by `engine_sha256`.

    A plan holds nothing but compiled code, so its manifest and the record of its build are here.
    """

    schema_version: Literal[1] = 1
    engine_sha256: str
    threshold: Threshold | None = None
    manifest: Manifest | None = None
    build: BuildRecord | None = None


_Model = TypeVar("_Model", bound=BaseModel)


def manifest_from_json(text: str, name: str) -> Manifest:
    """Parse a manifest found in file `name`; raises IncompatibleError when it does not fit."""
    return _validated(Manifest, text, name)


def sidecar_path(engine: Path) -> Path:
    """`destseg.onnx` -> `destseg.onnx.yaml`."""
    return engine.with_name(engine.name + ".yaml")


def load_sidecar(engine: Path) -> Sidecar | None:
    """The sidecar of an engine file, or None when there is none.

    Raises IncompatibleError when it is malformed or belongs to other bytes than the engine's.
    """
    path = sidecar_path(engine)
    if not path.exists():
        return None
    try:
        sidecar = _validated(Sidecar, _json_from_yaml(path), str(path))
    except IncompatibleError as error:
        raise IncompatibleError(f"{error} {_mend(engine, None)}") from error
    found = sha256(engine)
    if sidecar.engine_sha256 != found:
        raise IncompatibleError(
            f"{path} was written for another engine: it names sha256 {sidecar.engine_sha256[:12]}, "
            f"{engine.name} has {found[:12]}{_length(engine, sidecar)}. {_mend(engine, sidecar)}"
        )
    return sidecar


def set_threshold(engine: Path, threshold: Threshold) -> Path:
    """Store a threshold beside an engine, keep what else its sidecar says, return its path."""
    known = load_sidecar(engine) if _is_plan(engine) else None
    sidecar = known or Sidecar(engine_sha256=sha256(engine))
    return save_sidecar(engine, sidecar.model_copy(update={"threshold": threshold}))


def check_geometry(engine: Path, threshold: Threshold, used: Geometry, trained: Geometry) -> None:
    """Raise IncompatibleError when a threshold was set under another geometry than the one used.

    `trained` is the engine's own, which a command line's flags change. A threshold that knows no
    geometry is doubted in the log when the two differ.
    """
    line = _threshold_line(engine, threshold, used.flags(trained))
    if threshold.geometry is None and used != trained:
        _log.warning(
            "%s: its threshold was set by an older version, which did not note the geometry, so it "
            "may not fit this one. Set it anew with: %s", engine, line,
        )  # fmt: skip
    if threshold.geometry is None or not (found := used.differences(threshold.geometry)):
        return
    before = shlex.join(threshold.geometry.flags(trained)) or "no geometry options"
    raise IncompatibleError(
        f"{engine}: its threshold was set under another geometry and promises nothing for this one "
        f"({'; '.join(found)}). Judge as it was set, with {before}; or set it anew with: {line}  "
        "(or give --threshold)"
    )


def save_sidecar(engine: Path, sidecar: Sidecar) -> Path:
    """Write the sidecar beside its engine and return its path."""
    path = sidecar_path(engine)
    text = yaml.safe_dump(sidecar.model_dump(mode="json", exclude_none=True), sort_keys=False)
    write_text(path, text)
    return path


def _threshold_line(engine: Path, threshold: Threshold, flags: list[str]) -> str:
    """The command that sets a threshold anew, with the same promise."""
    rate, confidence = f"{threshold.false_alarm_rate:g}", f"{threshold.confidence:g}"
    words = ["edge-ad", "threshold", str(engine), "--images", "GOOD_DIR"]
    words += ["--false-alarm-rate", rate, "--confidence", confidence]
    return shlex.join(words + flags)


def _is_plan(engine: Path) -> bool:
    return engine.suffix == ".plan"


def _length(engine: Path, sidecar: Sidecar) -> str:
    """Says so when a plan's length alone betrays a copy that was cut off."""
    size = engine.stat().st_size
    if sidecar.build is None or sidecar.build.plan_bytes == size:
        return ""
    return f" and {size} bytes instead of {sidecar.build.plan_bytes}"


def no_manifest(path: Path) -> IncompatibleError:
    """The error for an ONNX file that does not say what its input and outputs mean."""
    ours = path.with_name(f"{path.stem}.engine.onnx")
    line = shlex.join(["edge-ad", "import", str(path), "--adapter", "anomalib", "-o", str(ours)])
    return IncompatibleError(
        f"{path}: an ONNX file without edge-ad's manifest, so its scaling and scores are unknown. "
        "Of edge-ad's weights, export it with: edge-ad export WEIGHTS.pt. Made elsewhere, first "
        f"say what it takes and gives: {line}  (or in words, see edge-ad import --help)"
    )


def _mend(engine: Path, sidecar: Sidecar | None) -> str:
    if not _is_plan(engine):
        return f"Set the threshold anew with: edge-ad threshold {engine} --images GOOD_DIR"
    build = sidecar.build if sidecar else None
    onnx = engine.with_name(build.onnx) if build else engine.with_suffix(".onnx")
    options = build.options if build else BuildOptions()
    return f"Copy plan and sidecar anew, or build with: {build_command(onnx, engine, options)}"


def _json_from_yaml(path: Path) -> str:
    try:
        return json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise IncompatibleError(f"{path} is not readable YAML: {reason}.") from error


def _validated(model: type[_Model], text: str, name: str) -> _Model:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "top level"
        raise IncompatibleError(
            f"{name}: its edge-ad {model.__name__.lower()} does not fit this version: "
            f"{where}: {first['msg']} (and {error.error_count() - 1} more). "
            "Make the file anew with this version of edge-ad."
        ) from error
