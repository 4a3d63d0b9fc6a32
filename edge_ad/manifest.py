"""Manifests inside model files, and the sidecar beside an engine.

A manifest describes a model's input, scores and origin; it is stored in an ONNX file (its
`metadata_props`) and in the weights file. The sidecar `<engine>.yaml` holds the threshold, which
may change without a rebuild, and for compiled plans all that must match before they are loaded.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from msgspec import Meta, field

from edge_ad.data_split import DataSplit
from edge_ad.errors import IncompatibleError
from edge_ad.files import sha256, write_text
from edge_ad.geometry import Geometry
from edge_ad.plan_record import BuildOptions, BuildRecord, build_command
from edge_ad.precision import Precision
from edge_ad.stored import Stored, StoredError
from edge_ad.strict_yaml import dump_yaml, load_yaml
from edge_ad.triton import SIDECAR_PARAMETER, ServedModel, served_model

METADATA_KEY = "edge_ad.manifest"
ASSUMED = "assumed"  # of `Threshold.decided_by`
Positive = Annotated[int, Meta(ge=1)]
Fraction = Annotated[float, Meta(gt=0.0, lt=1.0)]


class Score(Stored, frozen=True, kw_only=True):
    """The reduction of a map to the image score: mean filter, then mean of the largest pixels.

    The line needs it to compute the score again without the ignored polygons.
    """

    top_k: Positive = 1
    mean_filter_px: Positive = 1


class Provenance(Stored, frozen=True, kw_only=True):
    """The origin of a file; `made_with` maps package names to versions."""

    made_with: dict[str, str] = field(default_factory=dict)
    created_utc: str = ""
    data_sha256: str = ""
    images: int = 0
    parent_sha256: str = ""
    notes: dict[str, str] = field(default_factory=dict)


class Manifest(Stored, frozen=True, kw_only=True):
    """The description of a model; `batch` None means any number of images.

    `data_split` is None for models that edge-ad did not train. `bit_depth` is
    that of the training images, None when it is not known.
    """

    schema_version: Literal[1] = 1
    method: str
    precision: Precision = "fp32"
    size_hw: tuple[Positive, Positive]
    batch: Positive | None = 1
    geometry: Geometry = Geometry()
    score: Score = Score()
    provenance: Provenance = Provenance()
    data_split: DataSplit | None = None
    bit_depth: Annotated[int, Meta(ge=8, le=16)] | None = None


class Escapes(Stored, frozen=True, kw_only=True):
    """Anomalous images that pass at a threshold: `count` of `images`.

    The true share lies in `low` to `high` with probability 0.95 (Clopper-Pearson). `kind` says
    whether the anomalies were real ones or were drawn on normal images; drawn ones only resemble
    those of the line.
    """

    count: Annotated[int, Meta(ge=0)]
    images: Positive
    low: float
    high: float
    kind: Literal["labelled", "synthetic"]


class Drift(Stored, frozen=True, kw_only=True):
    """The test that normal parts score alike over time, in the order given by `order`.

    `p` is the probability of such a drift by chance; `accepted` says that it was below `level` and
    the user stored the threshold nevertheless.
    """

    order: str
    p: float
    level: float
    accepted: bool = False


class ImageReference(Stored, frozen=True, kw_only=True):
    """Brightness, sharpness and score of normal images, for `run` to notice that they change.

    Each is 21 quantiles from the least to the greatest of `count` images (one of each part) of
    `size_hw` pixels. `colour`: every one of them has some.
    """

    size_hw: tuple[Positive, Positive]
    count: Positive
    brightness: tuple[float, ...]
    sharpness: tuple[float, ...]
    score: tuple[float, ...]
    colour: bool = False


class Threshold(Stored, frozen=True, kw_only=True):
    """The scores above which the line rejects, in raw units, and their guarantee.

    With probability `confidence`, at most `false_alarm_rate` of normal parts have an image that
    exceeds `image` (`by` "part"), or of normal images exceed it (`by` "image"), estimated from
    `parts` independent parts on `images` images; likewise for `pixel` and a map's maximum. `parts`
    None: each image is a part. The guarantee holds only for the `geometry` of those images.

    `decided_by` is what decided which images show one part (`parts.How`): "each", "part-id" and
    "table" are the user's word for it; empty for frames of a source. With `ASSUMED`, looks did not
    tell parts apart, and the guarantee holds if the images show so many.
    `set_aside` counts those images that the training had set aside for this; `frames_per_part` is
    how many frames in a row show one part, where frames of a source were used. With `folds`, the
    scores are those of so many other nets, and the guarantee is an estimate. `reference` says what
    those images look like.
    """

    image: float
    pixel: float
    false_alarm_rate: Fraction
    confidence: Fraction
    images: Positive
    by: Literal["part", "image"] = "part"
    parts: Positive | None = None
    decided_by: str = ""
    set_aside: Annotated[int, Meta(ge=0)] = 0
    frames_per_part: Positive | None = None
    folds: Annotated[int, Meta(ge=0)] = 0
    drift: Drift | None = None
    escapes: Escapes | None = None
    reference: ImageReference | None = None
    data_sha256: str = ""
    geometry: Geometry = Geometry()

    @property
    def is_assumed(self) -> bool:
        """Return whether the guarantee holds only if the images show so many parts."""
        return self.decided_by == ASSUMED


class Sidecar(Stored, frozen=True, kw_only=True):
    """The YAML file beside an engine, bound to its bytes by `engine_sha256`.

    A plan contains only compiled code, so its manifest and its build record are here.
    """

    schema_version: Literal[1] = 1
    engine_sha256: str
    threshold: Threshold | None = None
    manifest: Manifest | None = None
    build: BuildRecord | None = None


_Model = TypeVar("_Model", bound=Stored)


def manifest_from_json(text: str, name: str) -> Manifest:
    """Parse the manifest of file `name`. Raises IncompatibleError when it is not valid."""
    return _validated(Manifest, text, name)


def sidecar_path(engine: Path) -> Path:
    """Return the sidecar of an engine: `destseg.onnx` -> `destseg.onnx.yaml`."""
    return engine.with_name(engine.name + ".yaml")


def load_sidecar(engine: Path, engine_digest: str | None = None) -> Sidecar | None:
    """Return the sidecar of an engine file, or None when there is none.

    `engine_digest` is the file's sha256 where it is known. Raises IncompatibleError when the
    sidecar is malformed or was written for another engine file.
    """
    served = served_model(engine)
    if served is not None:
        return _served_sidecar(served)
    path = sidecar_path(engine)
    if not path.exists():
        return None
    try:
        sidecar = _validated(Sidecar, _json_from_yaml(path), str(path))
    except IncompatibleError as error:
        raise IncompatibleError(f"{error} {_fix(engine, None)}") from error
    actual = engine_digest or sha256(engine)
    if sidecar.engine_sha256 != actual:
        size = _format_size(engine, sidecar)
        raise IncompatibleError(
            f"{path} was written for another engine: expected sha256 {sidecar.engine_sha256[:12]}, "
            f"got {actual[:12]}{size} of {engine.name}. {_fix(engine, sidecar)}"
        )
    return sidecar


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
    return _validated(Sidecar, text, str(served))


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


def save_sidecar(engine: Path, sidecar: Sidecar) -> Path:
    """Write the sidecar beside its engine and return its path."""
    path = sidecar_path(engine)
    text = dump_yaml(sidecar.to_dict(without_none=True))
    write_text(path, text)
    return path


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


def export_advice(path: Path) -> str:
    """Return what to do about a file that is no ONNX file; weights in its place are common."""
    if path.suffix.lower() == ".pt":
        return f"These are weights: export them first with: edge-ad export {shlex.quote(str(path))}"
    return "Export it again."


def no_manifest(path: Path) -> IncompatibleError:
    """Return the error for an ONNX file whose inputs and outputs have no description."""
    engine = path.with_name(f"{path.stem}.engine.onnx")
    command = ["edge-ad", "import", str(path), "--adapter", "anomalib", "-o", str(engine)]
    return IncompatibleError(
        f"{path}: an ONNX file without edge-ad's manifest, so its scaling and scores are unknown. "
        "Export edge-ad's weights with: edge-ad export WEIGHTS.pt. For a model made elsewhere, "
        f"describe its input and outputs first: {shlex.join(command)}  (see edge-ad import --help)"
    )


def _fix(engine: Path, sidecar: Sidecar | None) -> str:
    if not _is_plan(engine):
        return f"Set the threshold again with: edge-ad threshold {engine} --images GOOD_DIR"
    build = sidecar.build if sidecar else None
    onnx = engine.with_name(build.onnx) if build else engine.with_suffix(".onnx")
    options = build.options if build else BuildOptions()
    return f"Copy plan and sidecar again, or build with: {build_command(onnx, engine, options)}"


def _json_from_yaml(path: Path) -> str:
    try:
        return json.dumps(load_yaml(path))
    except (OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise IncompatibleError(f"{path} is not readable YAML: {reason}.") from error


def _validated(model: type[_Model], text: str, name: str) -> _Model:
    try:
        return model.from_json(text)
    except StoredError as error:
        raise IncompatibleError(
            f"{name}: its edge-ad {model.__name__.lower()} is not valid in this version: "
            f"{error}. Make the file again with this version of edge-ad."
        ) from error
