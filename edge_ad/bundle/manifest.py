"""What a bundle says about itself: `manifest.json`, the bytes that are signed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_ad.errors import DataError, IncompatibleError

FORMAT = 1
MANIFEST, SIGNATURES = "manifest.json", "signatures.json"
LINE, DEVICE_LINE = "line.yaml", "run.yaml"  # as bundled, and as this device runs it
RESERVED = frozenset({MANIFEST, SIGNATURES, DEVICE_LINE})
LONGEST_NAME = 100  # of a tar header without extensions
LARGEST_FILE = 8**11 - 1  # bytes, for the same reason
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class BundledFile(_Strict):
    """A file of the bundle; `name` has slashes between folders."""

    name: str
    size: Annotated[int, Field(ge=0, le=LARGEST_FILE)]
    sha256: Digest


class SelfTestCamera(_Strict):
    """What the self-test judges a camera's images with: as in the bundle, without the site."""

    camera: str
    engine: str
    threshold: float
    pixel_threshold: float
    geometry: dict[str, Any]


class SelfTestImage(_Strict):
    """An image of the bundle with the expected score, give or take `tolerance`, and verdict."""

    camera: str
    image: str
    score: float
    tolerance: Annotated[float, Field(gt=0.0)]
    verdict: Literal["PASS", "REJECT"]


class SelfTest(_Strict):
    """What a device must answer before it runs the bundle; `latency_ms` limits the median."""

    cameras: tuple[SelfTestCamera, ...]
    images: Annotated[tuple[SelfTestImage, ...], Field(min_length=1)]
    latency_ms: Annotated[float, Field(gt=0.0)] | None = None


class WatchLimits(_Strict):
    """What the first `minutes` of a version may look like before it is rolled back.

    The shares of rejected and invalid parts, among at least `parts`, may reach `reject_rate` and
    `invalid_rate`, or `rise` times what the version before had, whichever is more. Camera faults
    may be as many as `faults`, or `rise` times as frequent as before. The line may start again
    `restarts` times, and must start at all within `start_s` after it was asked to.
    """

    minutes: Annotated[float, Field(gt=0.0)] = 10.0
    parts: Annotated[int, Field(ge=1)] = 50
    reject_rate: Share = 0.05
    invalid_rate: Share = 0.02
    rise: Annotated[float, Field(ge=1.0)] = 3.0
    faults: Annotated[int, Field(ge=0)] = 3
    restarts: Annotated[int, Field(ge=0)] = 3
    start_s: Annotated[float, Field(gt=0.0)] = 120.0


class Target(_Strict):
    """Devices that a bundle is for: an architecture like aarch64, host names like line-*."""

    architecture: str = ""
    machines: tuple[str, ...] = ()


class BundleManifest(_Strict):
    """The content of a bundle, and which devices may install it until when.

    Devices build the ONNX files in `plans` for their GPU, if they have one.
    """

    format: Literal[1] = 1
    product: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    version: Annotated[int, Field(ge=1, le=10**15)]
    created_utc: str
    expires_utc: str | None = None
    target: Target = Target()
    made_with: str = ""
    note: str = ""
    plans: tuple[str, ...] = ()
    self_test: SelfTest
    watch: WatchLimits = WatchLimits()
    files: tuple[BundledFile, ...]

    @model_validator(mode="after")
    def _is_consistent(self) -> BundleManifest:
        names = [file.name for file in self.files]
        problems = [
            *names_problems([*names, *self._built_names()]),
            *(f"it has no {name}" for name in sorted(self._needed() - {*names})),
            *(f"camera {name} is not tested with an engine" for name in self._untested()),
        ]
        if problems:
            raise ValueError("; ".join(problems[:3]))
        return self

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)

    def to_bytes(self) -> bytes:
        """Return the content of `manifest.json`."""
        text = json.dumps(self.model_dump(mode="json", exclude_none=True), indent=1)
        return f"{text}\n".encode()

    def _built_names(self) -> list[str]:
        return [name for onnx in self.plans for name in (plan_name(onnx), sidecar_of(onnx))]

    def _needed(self) -> set[str]:
        engines = {camera.engine for camera in self.self_test.cameras}
        return {LINE, *self.plans, *engines, *(image.image for image in self.self_test.images)}

    def _untested(self) -> list[str]:
        tested = {camera.camera for camera in self.self_test.cameras}
        return sorted({image.camera for image in self.self_test.images} - tested)


def plan_name(onnx: str) -> str:
    """Return the plan that a device builds from an ONNX file of the bundle."""
    return f"{onnx.removesuffix('.onnx')}.plan"


def sidecar_of(onnx: str) -> str:
    """Return the sidecar of the plan that a device builds."""
    return f"{plan_name(onnx)}.yaml"


def name_problem(name: str) -> str:
    """Return why a bundle may not have a file of that name, empty when it may.

    Only ASCII: two names that differ in case or in the form of a letter only are one file on
    some disks.
    """
    if name.startswith("/") or ".." in name.split("/"):
        return "leads outside the bundle"
    if len(name) > LONGEST_NAME:
        return f"has more than {LONGEST_NAME} characters"
    if not all(_PART.fullmatch(part) for part in name.split("/")):
        return "may have letters a-z, digits, '.', '_' and '-' only, and begin with no '.' or '-'"
    return "is reserved" if name.lower() in RESERVED else ""


def names_problems(names: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the names of a bundle's files, one sentence each."""
    for name in names:
        if problem := name_problem(name):
            yield f"the name {name!r} {problem}"
    for name, count in Counter(name.lower() for name in names).items():
        if count > 1:
            yield f"the name {name!r} stands {count} times, capitals aside"
    folders = {name.lower()[: end.start()] for name in names for end in re.finditer("/", name)}
    for name in names:
        if name.lower() in folders:
            yield f"{name!r} is both a file and a folder"


def parse_manifest(data: bytes, label: str) -> BundleManifest:
    """Return the manifest of a bundle called `label`. Raises DataError, IncompatibleError."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{label}: {MANIFEST} is not JSON ({error}).") from error
    written = content.get("format") if isinstance(content, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise IncompatibleError(
            f"{label} has format {written}, this edge-ad reads {FORMAT}. Update edge-ad."
        )
    try:
        return BundleManifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "content"
        problem = first["msg"].removeprefix("Value error, ")
        raise DataError(f"{label}: {MANIFEST} is not valid: {where}: {problem}.") from error
