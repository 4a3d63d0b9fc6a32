"""What model files say of themselves: manifests inside them, and the record of a sidecar.

A manifest describes a model's input, scores and origin; it is stored in an ONNX file (its
`metadata_props`) and in the weights file. The sidecar `<engine>.yaml` holds the threshold, which
may change without a rebuild, and for compiled plans all that must match before they are loaded;
`edge_ad.sidecar` reads and writes it.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from msgspec import Meta, field

from edge_ad.data_split import DataSplit
from edge_ad.errors import IncompatibleError
from edge_ad.geometry import Geometry
from edge_ad.plan_record import BuildRecord
from edge_ad.precision import Precision
from edge_ad.stored import Stored, StoredError

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
    the user stored the threshold nevertheless. `brightness` are medians of the first and the last
    third of the parts, in grey levels, and `brightness_p` that of their drift.
    """

    order: str
    p: float
    level: float
    accepted: bool = False
    brightness: tuple[float, float] | None = None
    brightness_p: float | None = None


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
    `threshold_sha256` is the digest of the threshold as it was stored; a file made without it is
    not checked.
    """

    schema_version: Literal[1] = 1
    engine_sha256: str
    threshold: Threshold | None = None
    threshold_sha256: str | None = None
    manifest: Manifest | None = None
    build: BuildRecord | None = None


_Model = TypeVar("_Model", bound=Stored)


def manifest_from_json(text: str, name: str) -> Manifest:
    """Parse the manifest of file `name`. Raises IncompatibleError when it is not valid."""
    return validated(Manifest, text, name)


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


def validated(model: type[_Model], text: str, name: str) -> _Model:
    """Parse a record of file `name`. Raises IncompatibleError when it is not valid."""
    try:
        return model.from_json(text)
    except StoredError as error:
        raise IncompatibleError(
            f"{name}: its edge-ad {model.__name__.lower()} is not valid in this version: "
            f"{error}. Make the file again with this version of edge-ad."
        ) from error
