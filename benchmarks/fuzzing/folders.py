"""Mutated folders and videos: with any files in them, the counts of every verb add up."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.images import list_folder
from fuzzing.images import mutated, seeds
from fuzzing.models import ENGINE
from fuzzing.mutations import Rng, mutate, pick
from fuzzing.verbs import verb

_NAMES = (
    "notes.txt",
    ".hidden.png",
    "Thumbs.db",
    "part",
    "x.tga",
    "a b.PNG",
    "é.png",
    "0.png.part",
)
_FRAMES = 12
_CODECS = {"avi": ("mjpeg", "mpeg4"), "mp4": ("mpeg4", "mjpeg"), "mkv": ("mjpeg", "mpeg4")}


def folders(rng: Rng, folder: Path) -> bool:
    """Run a verb over a folder of mutated images and other files, and count them."""
    parts = folder / "parts"
    parts.mkdir()
    for index in range(int(rng.integers(1, 8))):
        suffix, data = mutated(rng) if rng.random() < 0.6 else pick(rng, seeds())
        (parts / f"{index:02d}{suffix}").write_bytes(data)
    for _ in range(int(rng.integers(0, 4))):
        _add_other(parts, rng)
    name = pick(rng, ("run", "run", "capture", "dataset"))
    return _COUNTED[name](parts, folder, len(list(parts.iterdir())))


def videos(rng: Rng, folder: Path) -> bool:
    """Run over a mutated video: each frame is judged or INVALID, and an early end is an error."""
    suffix = pick(rng, list(_CODECS))
    path = folder / f"video.{suffix}"
    whole = _video(suffix, pick(rng, _CODECS[suffix]))
    cut = rng.random() < 0.3
    path.write_bytes(whole[: int(rng.integers(len(whole)))] if cut else mutate(whole, rng))
    code, records, summary = _run(path)
    if summary is None:
        assert code in {2, 5}, code
        return False
    assert summary["frames"] == summary["judged"] + summary["invalid"] == len(records), summary
    assert not cut or code == 5 or summary["frames"] == _FRAMES, (summary, code)
    return code == 0


def _add_other(parts: Path, rng: Rng) -> None:
    """Add a file, folder or link that is no image, or only named like one."""
    path = parts / pick(rng, _NAMES)
    if path.exists() or path.is_symlink():
        return
    kind = rng.random()
    if kind < 0.2:
        path.mkdir()
    elif kind < 0.3:
        path.symlink_to(parts / "nowhere.png")
    elif kind < 0.4:
        path.symlink_to(parts)
    elif kind < 0.45:
        os.mkfifo(path)
    else:
        path.write_bytes(rng.bytes(int(rng.integers(0, 200))))


def _count_run(parts: Path, folder: Path, there: int) -> bool:
    code, records, summary = _run(parts)
    if summary is None:  # refused at the start
        assert not records and code in {2, 5}, code
        return False
    assert summary["frames"] == summary["judged"] + summary["invalid"] == len(records), summary
    assert summary["frames"] + summary["left_out"] == there, (summary, there)
    assert len(summary.get("left_out_files", ())) == min(10, summary["left_out"]), summary
    return code == 0


def _count_capture(parts: Path, folder: Path, there: int) -> bool:
    out = folder / "captured"
    done = verb("capture", "--camera", parts, "-o", out, "--json")
    summaries = [record for record in _records(done.out) if record["type"] == "summary"]
    if not summaries:
        assert done.code in {2, 5}, done
        return False
    (summary,) = summaries
    fates = ("kept", "invalid", "duplicate", "blurred", "skipped")
    taken = sum(value for key, value in summary.items() if key in fates)
    assert taken + summary["left_out_count"] == there, (summary, there)
    images = list_folder(out).images if out.is_dir() else ()
    assert len(images) == summary["kept"], (summary, images)
    return done.code == 0


def _count_dataset(parts: Path, folder: Path, there: int) -> bool:
    done = verb("dataset", parts, "--json")
    if done.code:
        assert done.code == 2, done
        return False
    (result,) = _records(done.out)
    inside = [path for path in parts.iterdir() if path.name[0] != "." and not path.is_dir()]
    assert result["images"] + len(result["left_out"]) == result["files"] == len(inside), result
    return True


_COUNTED = {"run": _count_run, "capture": _count_capture, "dataset": _count_dataset}


def _run(camera: Path) -> tuple[int, list[Any], dict[str, Any] | None]:
    """Run the line over a folder or video; return exit code, inspections and summary."""
    done = verb("run", "--camera", camera, "--engine", ENGINE, "--threshold", "0.5", "--json")
    records = _records(done.out)
    inspections = [record for record in records if record["type"] == "inspection"]
    summaries = [record for record in records if record["type"] == "summary"]
    return done.code, inspections, summaries[0] if summaries else None


def _records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@functools.lru_cache(maxsize=8)
def _video(suffix: str, codec: str) -> bytes:
    """Return a video of _FRAMES frames in which a block moves."""
    import av

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"video.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=Fraction(25))
            stream.width, stream.height = 64, 48
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for index in range(_FRAMES):
                frame = av.VideoFrame.from_ndarray(_scene(index), format="bgr24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


def _scene(index: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(index).integers(60, 160, (48, 64, 3)).astype(np.uint8)
    return np.asarray(cv2.rectangle(noise, (index * 4, 10), (index * 4 + 8, 20), (0, 250, 0), -1))
