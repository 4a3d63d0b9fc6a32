"""A job on disk: which images, which of them are judged, and the one file in the end.

Beside `results.parquet` lies a folder `results.parquet.parts` while the job is not finished. It has
the job's description, its list of images, and one file for each part that is judged: a part has
its name only when it is complete. A job that was killed goes on with the parts that are missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge_ad.errors import EdgeAdError, OutletLost, SourceLost, UsageError
from edge_ad.files import replacing, write_text
from edge_ad.rejudge.listing import ArchiveListing
from edge_ad.rejudge.table import (
    Table,
    is_part,
    join_parts,
    make_schema,
    read_job,
    shown_path,
    write_table,
)

_PART_IMAGES, _PART_IMAGES_WITH_MAPS = 64, 8  # a kill loses the parts under way
_JOB, _LISTING, _LOCK = "job.json", "images.json", "lock"


@dataclass
class RejudgeJob:
    """A job whose folder this process has locked; `part(i)` are the paths of part i.

    `judged` counts images of complete parts, `resumed` those that were complete at the start.
    """

    output: Path
    description: dict[str, Any]
    listing: ArchiveListing
    part_images: int
    outstanding: list[int] = field(default_factory=list)
    judged: int = 0
    resumed: int = 0

    def __post_init__(self) -> None:
        self.schema = make_schema(self.description)
        for stale in self._folder.glob(".*"):  # of a killed process
            stale.unlink()
        for index in range(-(-len(self.listing.paths) // self.part_images)):
            if is_part(self._path(index), self.schema, self.part(index)):
                self.judged += len(self.part(index))
            else:
                self.outstanding.append(index)
        self.resumed = self.judged

    @property
    def images(self) -> int:
        """Return how many images the job has."""
        return len(self.listing.paths)

    def part(self, index: int) -> tuple[str, ...]:
        """Return the paths of a part."""
        return self.listing.paths[index * self.part_images : (index + 1) * self.part_images]

    def store(self, index: int, table: Table) -> None:
        """Keep the rows of a part. Raises OutletLost when they cannot be written."""
        if table["path"].to_pylist() != [shown_path(path) for path in self.part(index)]:
            raise EdgeAdError(f"part {index}: a worker returned rows of other images.")
        with _writing(self.output), replacing(self._path(index)) as temporary:
            write_table(temporary, table)
        self.judged += table.num_rows

    def finish(self) -> None:
        """Join all parts into the output file, and remove the folder."""
        parts = [self._path(index) for index in range(-(-self.images // self.part_images))]
        joined = self._folder / ".joined.parquet"
        with _writing(self.output):
            rows = join_parts(parts, self.schema, joined)
            if rows != self.images:
                raise EdgeAdError(f"{self._folder}: {rows} rows of {self.images} images.")
            os.replace(joined, self.output)
        (self._folder / _JOB).unlink()  # first: what is left of the folder is of no job
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _folder(self) -> Path:
        return parts_folder(self.output)

    def _path(self, index: int) -> Path:
        return self._folder / f"part-{index:07d}.parquet"


def parts_folder(output: Path) -> Path:
    """Return the folder of a job that is not finished."""
    return output.with_name(f"{output.name}.parts")


@contextlib.contextmanager
def open_job(
    output: Path,
    description: dict[str, Any],
    list_images: Callable[[], ArchiveListing],
    *,
    overwrite: bool,
) -> Iterator[RejudgeJob | None]:
    """Begin a job or continue it; None when `output` is its finished result.

    `description` is everything that the rows depend on. A continued job keeps its list of images.
    Raises UsageError when the output or a half-done job is of another description, or images have
    come or gone since it was finished, and `overwrite` is not given, or when another process works
    on it.
    """
    folder = parts_folder(output)
    began = (folder / _JOB).exists()
    if not began and not overwrite and _is_finished(output, description, list_images):
        shutil.rmtree(folder, ignore_errors=True)  # a kill may have left some of it
        yield None
        return
    with _writing(output):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(folder, output):
            job = _resume(output, description, overwrite=overwrite)
            yield job or _begin(output, description, list_images())
    finally:
        if folder.is_dir() and not (folder / _JOB).exists():  # it never began
            shutil.rmtree(folder, ignore_errors=True)


def _is_finished(
    output: Path, description: dict[str, Any], list_images: Callable[[], ArchiveListing]
) -> bool:
    """Return whether the output is there already.

    Raises UsageError for one of another job, or of other images than the archive has by now.
    """
    if not output.exists():
        return False
    written = read_job(output)
    if written is None:
        raise UsageError(
            f"-o {output}: exists, and edge-ad rejudge did not write it. Name another file, or "
            "give --overwrite."
        )
    _check_same(written, description, str(output))
    _check_images(written.get("listing"), list_images, output)
    return True


def _check_images(
    before: dict[str, Any] | None, list_images: Callable[[], ArchiveListing], output: Path
) -> None:
    """Raise UsageError when other images are listed than those that a result is of."""
    try:
        now = list_images()
    except SourceLost:  # the archive may be gone, its result is here
        return
    if before is not None and before != _identity(now):
        raise UsageError(
            f"{output} is finished, of {before['images']} images; there are other images by now, "
            f"{len(now.paths)} in all. Name another -o, or give --overwrite to judge all of them."
        )


def _identity(listing: ArchiveListing) -> dict[str, Any]:
    """Return the number of images and a digest of their paths, which a result carries."""
    digest = hashlib.sha256()
    for path in listing.paths:
        digest.update(os.fsencode(path) + b"\0")
    return {"images": len(listing.paths), "sha256": digest.hexdigest()}


def _resume(output: Path, description: dict[str, Any], *, overwrite: bool) -> RejudgeJob | None:
    """Return the job in the folder, None to begin one. Raises UsageError for another job."""
    folder = parts_folder(output)
    stored = _read_json(folder / _JOB)
    if stored is None or overwrite:
        for old in folder.iterdir():
            if old.name != _LOCK:
                old.unlink()
        return None
    _check_same(stored["description"], description, str(folder))
    listing = _read_json(folder / _LISTING)
    if listing is None:
        raise UsageError(f"{folder / _LISTING} cannot be read. Begin again with --overwrite.")
    return RejudgeJob(
        output,
        stored["description"],
        ArchiveListing(**listing | {"paths": tuple(listing["paths"])}),
        stored["part_images"],
    )


def _begin(output: Path, description: dict[str, Any], listing: ArchiveListing) -> RejudgeJob:
    folder = parts_folder(output)
    part_images = _PART_IMAGES_WITH_MAPS if description["maps"] else _PART_IMAGES
    described = description | {"id": uuid.uuid4().hex, "listing": _identity(listing)}
    with _writing(output):
        write_text(folder / _LISTING, json.dumps(asdict(listing)))
        # last: a folder without it is of no job yet
        text = json.dumps({"description": described, "part_images": part_images})
        write_text(folder / _JOB, text)
    return RejudgeJob(output, described, listing, part_images)


def _check_same(before: dict[str, Any], now: dict[str, Any], name: str) -> None:
    differing = sorted(key for key in now if before.get(key) != now[key])
    if differing:
        raise UsageError(
            f"{name} is of another job: {', '.join(differing)} differ. Finish that one with its "
            "own command, name another -o, or give --overwrite to begin again."
        )


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


@contextlib.contextmanager
def _locked(folder: Path, output: Path) -> Iterator[None]:
    """Hold the folder's lock, which the kernel releases when this process dies."""
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UsageError(
            f"another edge-ad rejudge writes {output}. Wait for it, or name another -o."
        ) from None
    try:
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _writing(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutletLost(
            f"{output}: cannot be written ({error.strerror or error}). What is judged is kept: "
            "make room, and give the same command."
        ) from error
