"""Whether looks tell parts apart."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.images import write_image
from edge_ad.parts import How, Recognition, assign_parts
from edge_ad.parts.recognition import SecondExposures
from edge_ad.parts.second_exposure import noise_levels, two_exposures
from edge_ad.parts.turns import directions, lie_at_any_angle
from tests.parts.faces import disc, face


def _levels(light: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(light.round().clip(0, 255), np.uint8)


def _shots(folder: Path, count: int, quality: int | None = None) -> list[Path]:
    paths = []
    for number in range(count):
        image = disc(number)
        if quality is not None:
            _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
            image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        paths.append(folder / f"{number:02d}.png")
        write_image(paths[-1], image)
    return paths


@pytest.mark.parametrize("quality", [None, 80])
def test_shots_of_a_plain_disc_are_an_upper_bound_of_its_parts(
    tmp_path: Path, quality: int | None
) -> None:
    assignment = assign_parts(_shots(tmp_path, 6, quality))
    assert assignment.is_upper_bound and len(assignment.groups()) > 1
    recognition = assignment.recognition
    assert recognition is not None and recognition.tried == 6
    assert f"{recognition.recognised} of 6 simulated second exposures" in assignment.doubt
    assert f"{len(assignment.groups())} parts is an upper bound" in assignment.doubt
    assert all(way in assignment.doubt for way in ("--part-id", "parts.csv", "--parts-from each"))


def test_the_word_of_the_user_needs_no_looks(tmp_path: Path) -> None:
    assignment = assign_parts(_shots(tmp_path, 3), how=How.EACH)
    assert assignment.recognition is None and not assignment.is_upper_bound


def test_images_that_are_one_part_are_no_upper_bound(tmp_path: Path) -> None:
    """Fewer parts than one there are not, however little the images tell."""
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        write_image(path, disc(1))
    assignment = assign_parts(paths)
    assert len(assignment.groups()) == 1 and not assignment.is_upper_bound


@pytest.mark.parametrize(("recognised", "reliable"), [(0, False), (19, False), (20, True)])
def test_half_of_the_second_exposures_decide(recognised: int, *, reliable: bool) -> None:
    assert Recognition(40, recognised).is_reliable == reliable


@pytest.mark.parametrize(("images", "tried"), [(1, 1), (3, 3), (45, 40), (97, 40)])
def test_at_most_forty_images_are_tried_evenly_spread(images: int, tried: int) -> None:
    exposures = SecondExposures(1.0, images)
    counts = []
    for number in range(images):
        exposures.add(np.full((32, 32, 3), number, np.uint8))
        counts.append(len(exposures.agreements()) if number + 1 in (images // 2, images) else 0)
    assert counts[-1] == tried
    assert images < 4 or abs(counts[images // 2 - 1] - tried / 2) <= 1


def test_two_exposures_share_what_is_shown_and_no_noise() -> None:
    """Where noise alone is shown, they are as unlike as two images of two moments are."""
    rng = np.random.default_rng(0)
    flat = _levels(128 + rng.normal(0, 4, (200, 200)))
    first, second = _residuals(flat, rng)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert first.std() == pytest.approx(4 * np.sqrt(2), rel=0.1), "twice the variance"
    first, second = _residuals(face(1, noise=1)[..., 0], rng)
    assert np.corrcoef(first, second)[0, 1] > 0.9


def _residuals(
    gray: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both exposures without their means, neither moved nor turned."""
    still = cv2.getRotationMatrix2D((0, 0), 0, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cv2, "getRotationMatrix2D", lambda *_: still.copy())
        patch.setattr("edge_ad.parts.second_exposure._SHIFT", 0.0)
        first, second = (one.astype(np.float64).ravel() for one in two_exposures(gray, rng))
    return first - first.mean(), second - second.mean()


@pytest.mark.parametrize("level", [3.0, 8.0])
def test_the_noise_of_a_sensor_is_measured(level: float) -> None:
    noisy = 128 + np.random.default_rng(1).normal(0, level, (200, 200)).astype(np.float32)
    assert np.median(noise_levels(noisy)) == pytest.approx(level, rel=0.1)


def test_noise_that_compression_hides_is_measured_at_half_the_size() -> None:
    noisy = _levels(128 + np.random.default_rng(2).normal(0, 4, (200, 200)))
    _, data = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 75])
    hidden = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.float32)
    assert np.median(noise_levels(hidden)) >= 2.5


@pytest.mark.parametrize("shape", ["rectangle", "grain"])
@pytest.mark.parametrize(("largest_deg", "turned"), [(90.0, True), (3.0, False)])
def test_parts_at_any_angle_are_noticed(shape: str, largest_deg: float, *, turned: bool) -> None:
    rng = np.random.default_rng(7)
    seen = [directions(_turned(shape, rng.uniform(-largest_deg, largest_deg), rng))
            for _ in range(12)]  # fmt: skip
    assert lie_at_any_angle(seen) == turned


def _turned(shape: str, turn_deg: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a part (160, 200) with its own surface: a rectangle, or a brushed sheet."""
    light: NDArray[np.float32] = rng.normal(0, 1, (300, 300)).astype(np.float32)
    if shape == "grain":
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), sigmaX=4, sigmaY=1.5), np.float32)
        light = 130 + light * 20 / light.std()
    else:
        light = light * 3 + 60
        light[120:180, 90:210] += 90
    turn = cv2.getRotationMatrix2D((150, 150), turn_deg, 1)
    moved = cv2.warpAffine(light, turn, (300, 300), borderMode=cv2.BORDER_REFLECT)
    return _levels(np.asarray(moved)[70:230, 50:250] + rng.normal(0, 2, (160, 200)))


def test_parts_at_any_angle_are_an_upper_bound(tmp_path: Path) -> None:
    """Each part is recognised as it lies, but not when it is turned."""
    rng = np.random.default_rng(3)
    for number in range(6):
        gray = _turned("grain", rng.uniform(0, 180), rng)
        write_image(tmp_path / f"{number}.png", np.repeat(gray[..., None], 3, axis=2))
    assignment = assign_parts(sorted(tmp_path.iterdir()))
    assert assignment.recognition is not None and assignment.recognition.at_any_angle
    assert assignment.is_upper_bound and "parts lie at any angle here" in assignment.doubt


def test_round_or_few_parts_say_nothing_of_angles() -> None:
    discs = [directions(disc(number)[..., 0]) for number in range(4)]
    assert not lie_at_any_angle(discs[:3]) and not lie_at_any_angle([])
    faces = [directions(face(number)[..., 0]) for number in range(12)]
    assert not lie_at_any_angle(faces)
