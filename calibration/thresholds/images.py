"""Read normal images to set a threshold from: a folder, or the frames of any source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_ad.dataset import normal_images
from edge_ad.errors import DataError, UsageError
from edge_ad.files import sha256_of
from edge_ad.frame import BadFrame, Image
from edge_ad.frame_gate import FrameGate, content_fault
from edge_ad.images import current_depth, read_image
from edge_ad.source import open_source
from edge_ad.source.open import waits


class ImageFolder:
    """Iterate over the named images of a folder: `paths`, by default see `normal_images`.

    An image is named by its file, by its path below the folder where two files have one name.
    `left_out` maps those that cannot be judged to the reason. Raises DataError when there is no
    image, and, after the last, when none could be judged.
    """

    def __init__(self, folder: Path, paths: Sequence[Path] | None = None) -> None:
        self._folder = folder
        self._paths = normal_images(folder) if paths is None else list(paths)
        self._names = Counter(path.name for path in self._paths)
        self._read: list[Path] = []
        self.left_out: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return the files listed, in order."""
        return tuple(self._paths)

    def name_of(self, path: Path) -> str:
        """Return the name of an image."""
        if self._names[path.name] == 1 or not path.is_relative_to(self._folder):
            return path.name if self._names[path.name] == 1 else str(path)
        return path.relative_to(self._folder).as_posix()

    def __iter__(self) -> Iterator[tuple[str, Image]]:
        self._read.clear()
        for path in self._paths:
            name = self.name_of(path)
            try:
                image = read_image(path)
            except DataError as error:
                self.left_out[name] = str(error)
                continue
            if fault := content_fault(image):
                self.left_out[name] = f"{path}: {fault}"
                continue
            self._read.append(path)
            yield name, image
        if not self._read:
            first = next(iter(self.left_out.values()))
            raise DataError(f"none of the {len(self)} images can be judged. The first: {first}")

    def sha256(self) -> str:
        """Return the identity of the images that could be read, once they were."""
        return sha256_of(self._read)


class SourceFrames:
    """Iterate over the frames of a video or camera, at most `limit`.

    `left_out` maps those that cannot be judged to the reason. Raises UsageError for a live source
    or a watched folder without a limit, since they never end.
    """

    def __init__(self, uri: str, limit: int | None = None) -> None:
        self._uri, self._limit = uri, limit
        self.left_out: dict[str, str] = {}

    def __iter__(self) -> Iterator[tuple[str, Image]]:
        with open_source(self._uri, bit_depth=current_depth()) as source:
            if self._limit is None and (source.live or waits(self._uri)):
                raise UsageError(
                    f"{source.name} never ends: limit it with --frames, or collect images first: "
                    "edge-ad capture"
                )
            gate = FrameGate(live=source.live)
            for grab in source:
                fault = grab.reason if isinstance(grab, BadFrame) else gate.fault(grab)
                if isinstance(grab, BadFrame) or fault:
                    self.left_out[f"frame {grab.index}"] = fault
                else:
                    yield f"frame {grab.index}", grab.image
                if self._limit is not None and grab.index + 1 >= self._limit:
                    return

    def sha256(self) -> str:
        """Return the identity of a video file; empty for a camera, whose frames are gone."""
        file = Path(self._uri)
        return sha256_of([file]) if file.is_file() else ""
