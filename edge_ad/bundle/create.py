"""Make a bundle: judge the test images as the line would, and put everything into one file."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

import edge_ad
from edge_ad.bundle.archive import (
    Head,
    open_bundle,
    read_files,
    read_head,
    write_bundle,
    write_head,
)
from edge_ad.bundle.manifest import (
    LARGEST_FILE,
    BundledFile,
    BundleManifest,
    SelfTest,
    SelfTestCamera,
    SelfTestImage,
    Target,
    WatchLimits,
    parse_manifest,
)
from edge_ad.bundle.self_test import judge_images
from edge_ad.bundle.signing import Signatures, SigningKey, parse_signatures
from edge_ad.clock import now_utc
from edge_ad.engine import open_engine
from edge_ad.errors import DataError, UsageError
from edge_ad.files import replacing, sha256
from edge_ad.images import FOLDER, list_folder, list_images, named, read_image, write_image
from edge_ad.inspection import Inspection, Verdict

SELF_TEST = "self_test"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BundleConfig:
    """What a bundle says about itself, besides its files.

    `tolerance` is how far a score may differ on a device, as a share of the threshold.
    """

    product: str
    version: int
    expires_utc: str | None = None
    target: Target = field(default_factory=Target)
    note: str = ""
    tolerance: float = 0.02
    latency_ms: float | None = None
    build_plans: bool = False
    watch: WatchLimits = field(default_factory=WatchLimits)


def collect_files(staging: Path, files: Mapping[str, Path]) -> None:
    """Copy files into the staging folder under their names in the bundle."""
    for name, path in files.items():
        target = staging / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def make_self_test(
    staging: Path, cameras: Sequence[SelfTestCamera], images: Path, config: BundleConfig
) -> SelfTest:
    """Judge the images in a folder with the staged engines, and keep them with the answers.

    An image in the folder is for every camera, one in a folder NAME in it for that camera. Raises
    UsageError for images whose verdict is not certain, for engines that none tests, and for a
    folder that is no camera's.
    """
    shared = _images_for_all(images, {camera.camera for camera in cameras})
    expected: list[SelfTestImage] = []
    for place, camera in enumerate(cameras, 1):
        own = images / camera.camera
        paths = [*shared, *(list_images(own) if own.is_dir() else ())]
        if not paths:
            raise UsageError(
                f"{images} has no image for camera {camera.camera}. Put some of normal and of "
                f"anomalous parts into it, or into {own}."
            )
        kept = f"{SELF_TEST}/{place}-{_slug(camera.camera)}"
        expected += _expect(staging / kept, camera, paths, staging, config.tolerance)
    return SelfTest(cameras=tuple(cameras), images=tuple(expected), latency_ms=config.latency_ms)


def _images_for_all(folder: Path, cameras: Set[str]) -> list[Path]:
    """Return the images directly in a folder. Raises UsageError for a folder of no camera."""
    listing = list_folder(folder)
    folders = {name for name, reason in listing.left_out.items() if reason == FOLDER}
    if of_none := sorted(folders - cameras):
        raise UsageError(
            f"{folder / of_none[0]}: no camera of the line is called '{of_none[0]}', so its images "
            f"would test nothing. Cameras: {', '.join(sorted(cameras))}. Rename the folder after "
            f"one, or put its images into {folder}, for all cameras."
        )
    if files := [name for name in listing.left_out if name not in folders]:
        _log.warning("%s: left out %s", folder, named(files))
    return list(listing.images)


def make_manifest(staging: Path, self_test: SelfTest, config: BundleConfig) -> BundleManifest:
    """Describe all files of the staging folder. Raises UsageError when the result is not valid."""
    files = _describe_files(staging)
    onnx = tuple(file.name for file in files if file.name.endswith(".onnx"))
    try:
        return BundleManifest(
            product=config.product,
            version=config.version,
            created_utc=now_utc("seconds"),
            expires_utc=config.expires_utc,
            target=config.target,
            made_with=edge_ad.__version__,
            note=config.note,
            plans=onnx if config.build_plans else (),
            self_test=self_test,
            watch=config.watch,
            files=files,
        )
    except ValidationError as error:
        raise UsageError(f"no bundle can be made: {_problems(error)}.") from error


def _describe_files(staging: Path) -> tuple[BundledFile, ...]:
    paths = sorted(path for path in staging.rglob("*") if path.is_file())
    for path in paths:
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{path.name} has more than {LARGEST_FILE >> 30} GiB.")
    return tuple(
        BundledFile(
            name=path.relative_to(staging).as_posix(),
            size=path.stat().st_size,
            sha256=sha256(path),
        )
        for path in paths
    )


def save_bundle(
    output: Path, staging: Path, manifest: BundleManifest, key: SigningKey | None
) -> None:
    """Write the bundle, signed if there is a key. Raises OSError."""
    data = manifest.to_bytes()
    signatures = key.sign(data, Signatures()) if key else Signatures()
    files = [(entry, staging / entry.name) for entry in manifest.files]
    with replacing(output) as temporary, temporary.open("wb") as file:
        write_bundle(file, Head(data, signatures.to_bytes()), files)


def sign_bundle(path: Path, key: SigningKey) -> list[str]:
    """Add a key's signature to a bundle and return the ids of all that have signed.

    Every byte is checked before. Raises DataError for a damaged bundle.
    """
    label = str(path)
    with open_bundle(path) as file:
        head = read_head(file, label)
        rest = file.tell()
        read_files(file, parse_manifest(head.manifest, label).files, label)
        signed = key.sign(head.manifest, parse_signatures(head.signatures, label))
        file.seek(rest)
        with replacing(path) as temporary, temporary.open("wb") as output:
            write_head(output, Head(head.manifest, signed.to_bytes()))
            shutil.copyfileobj(file, output, 1 << 20)
    return [one.key_id for one in signed.signatures]


def _expect(
    folder: Path,
    camera: SelfTestCamera,
    paths: Sequence[Path],
    staging: Path,
    tolerance: float,
) -> list[SelfTestImage]:
    engine, names = staging / camera.engine, []
    with open_engine(engine) as opened:
        depth = opened.manifest.bit_depth
    for number, path in enumerate(paths, 1):
        stem = _slug(path.stem) or "image"
        name = f"{folder.relative_to(staging)}/{number:03d}-{stem}.png"
        write_image(staging / name, read_image(path, depth))
        names.append(name)
    results = judge_images(engine, camera, [staging / name for name in names])
    allowed = tolerance * max(abs(camera.threshold), 1e-9)
    return [
        _expected(camera.camera, path, name, inspection, allowed)
        for path, name, (inspection, _) in zip(paths, names, results, strict=True)
    ]


def _expected(
    camera: str, path: Path, name: str, inspection: Inspection, tolerance: float
) -> SelfTestImage:
    if inspection.verdict is Verdict.INVALID:
        raise DataError(f"{path}: cannot be judged ({inspection.reason}). Leave it out.")
    if abs(inspection.score - inspection.threshold) <= 2 * tolerance:
        raise UsageError(
            f"{path}: its score {inspection.score:.6g} lies so near the threshold "
            f"{inspection.threshold:.6g} that another machine may decide otherwise. Leave it out."
        )
    return SelfTestImage(
        camera=camera,
        image=name,
        score=inspection.score,
        tolerance=tolerance,
        verdict="REJECT" if inspection.verdict is Verdict.REJECT else "PASS",
    )


def _problems(error: ValidationError) -> str:
    """Return what is wrong with each field, without pydantic's types and links."""
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'manifest'}: {one['msg']}, got {one['input']!r:.80}"
        for one in error.errors()
    )


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:30]
