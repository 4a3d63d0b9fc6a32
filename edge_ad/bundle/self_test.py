"""Judge the images of a bundle, and compare score, verdict and latency with what is expected."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.bundle.manifest import SelfTest, SelfTestCamera, SelfTestImage
from edge_ad.detector import Detector
from edge_ad.errors import GateFailed
from edge_ad.images import read_image
from edge_ad.inspection import Inspection

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """What a device answered; `worst` is the largest score difference as a share of the tolerance.

    `latency_ms` is the median from an image in memory to its verdict.
    """

    images: int
    worst: float
    latency_ms: float

    def as_json(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "images": self.images,
            "worst_share_of_tolerance": round(self.worst, 4),
            "latency_ms": round(self.latency_ms, 3),
        }


def judge_images(
    engine: Path, camera: SelfTestCamera, images: Sequence[Path]
) -> list[tuple[Inspection, float]]:
    """Return the inspection of each image and the seconds that it took."""
    results = []
    with Detector(
        engine, camera.threshold, camera.pixel_threshold, geometry=camera.geometry
    ) as detector:
        pixels = [read_image(path) for path in images]
        detector(pixels[0])  # the first is slower: buffers, caches
        for image in pixels:
            began = time.perf_counter()
            inspection = detector(image)
            results.append((inspection, time.perf_counter() - began))
    return results


def run_self_test(folder: Path, test: SelfTest, engines: Mapping[str, str]) -> SelfTestResult:
    """Judge all images below `folder`; `engines` are the files used in place of the bundle's.

    Raises GateFailed when an answer differs or the median latency exceeds its limit, and what
    `Detector` raises.
    """
    answers = list(_answers(folder, test, engines))
    result = SelfTestResult(
        len(answers),
        max((0.0, *(answer.deviation for answer in answers))),  # in this order NaN counts as 0
        statistics.median(answer.seconds * 1e3 for answer in answers),
    )
    problems = [answer.problem for answer in answers if answer.problem]
    if test.latency_ms is not None and result.latency_ms > test.latency_ms:
        problems.append(
            f"an image takes {result.latency_ms:.1f} ms (median), the limit is "
            f"{test.latency_ms:g} ms"
        )
    if problems:
        more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        raise GateFailed(
            f"the self-test failed: {'; '.join(problems[:_SHOWN])}{more}",
            {"self_test": result.as_json(), "problems": problems},
        )
    return result


@dataclass(frozen=True, slots=True)
class _Answer:
    """A device's inspection of an image, beside the expected one."""

    image: SelfTestImage
    inspection: Inspection
    seconds: float

    @property
    def deviation(self) -> float:
        """The score difference as a share of the tolerance; NaN for an INVALID image."""
        return abs(self.inspection.score - self.image.score) / self.image.tolerance

    @property
    def problem(self) -> str:
        """What differs from the expected answer, empty when it agrees."""
        image, got = self.image, self.inspection
        if got.verdict.value == image.verdict and self.deviation <= 1:
            return ""
        return (
            f"camera {image.camera}, {image.image}: expected {image.verdict} with score "
            f"{image.score:.6g} +- {image.tolerance:.3g}, got {got.verdict} with "
            f"{got.score:.6g} {got.reason}".rstrip()
        )


def _answers(folder: Path, test: SelfTest, engines: Mapping[str, str]) -> Iterator[_Answer]:
    for camera in test.cameras:
        images = [image for image in test.images if image.camera == camera.camera]
        if images:
            engine = folder / engines.get(camera.engine, camera.engine)
            results = judge_images(engine, camera, [folder / image.image for image in images])
            for image, (inspection, seconds) in zip(images, results, strict=True):
                yield _Answer(image, inspection, seconds)
