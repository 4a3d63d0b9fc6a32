"""Keep graphs that ONNX Runtime has optimised, so that the next start only maps them.

Optimising a graph takes most of a start and three times the memory of running it. The result
depends on the file, on ONNX Runtime's version and on the processor, which make its folder's name.
Beside it stands what the graph has answered to one batch: an entry is used when its files are
those that were written and the answer is the same, bit for bit; another is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edge_ad.engine.base import Prediction
from edge_ad.engine.thread_variants import GRAPH, WEIGHTS
from edge_ad.files import sha256
from edge_ad.machine.cache import cache_folder
from edge_ad.machine.host import processor_flags
from edge_ad.onnx_graph.external import is_self_contained

_log = logging.getLogger(__name__)
_CHECK = "check.json"
_NEW = ".new-"  # before the name of a folder that is not yet an entry
_UNFINISHED_S = 600.0  # no start takes as long
_MOST = 8  # entries kept, a few tens of MiB each


@dataclass(frozen=True, slots=True)
class KeptGraph:
    """An optimised graph, and the digest of its answer when it was written."""

    path: Path
    answer: str

    def answers(self, prediction: Prediction) -> bool:
        """Return whether the graph answered the same to the same batch then."""
        return self.answer == _digest(prediction)


@dataclass(frozen=True, slots=True)
class GraphCache:
    """The entry of one ONNX file with the digest `onnx_sha256`.

    `folder` may not exist, and need not be writable.
    """

    folder: Path
    onnx_sha256: str

    def graph(self) -> KeptGraph | None:
        """Return the optimised graph, or None for no entry or one whose files have changed."""
        try:
            check = json.loads((self.folder / _CHECK).read_text())
            kept = KeptGraph(self.folder / GRAPH, check["answer"])
            if check["files"] == _digests(self.folder):
                (self.folder / _CHECK).touch()
                return kept
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.info("%s cannot be used: %s", self.folder, error)
        self.remove()
        return None

    def remove(self) -> None:
        """Remove the entry; one that stays is found out again."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self, written: Path, prediction: Prediction) -> None:
        """Move the folder of a graph here, with what it answered. Best effort: logs a failure."""
        try:
            check = {"files": _digests(written), "answer": _digest(prediction)}
            (written / _CHECK).write_text(json.dumps(check))
            self.remove()
            written.rename(self.folder)
            _remove_oldest(self.folder.parent)
        except OSError as error:  # another process was first, or the disk is full
            _log.info("%s is not kept for the next start: %s", self.folder, error)


def cache_of(path: Path) -> GraphCache | None:
    """Return the entry of an ONNX file, or None where the user has no folder for it.

    None, too, without ONNX Runtime, which whoever opens the file then reports.
    """
    try:
        import onnxruntime as ort

        content, root = sha256(path), cache_folder()
    except (ImportError, OSError):
        return None
    name = f"{content[:24]}-{ort.__version__}-{_processor()}"
    return GraphCache(root / "graphs" / name, content)


@contextlib.contextmanager
def folder_for_graph(cache: GraphCache | None) -> Iterator[Path]:
    """Give a folder beside the cache's entries, or a temporary one where none can be made."""
    parent = cache.folder.parent if cache else None
    try:
        if parent:
            parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _remove_unfinished(parent)
        made = TemporaryDirectory(prefix=_NEW, dir=parent, ignore_cleanup_errors=True)
    except OSError:
        made = TemporaryDirectory(prefix="edge-ad-", ignore_cleanup_errors=True)
    with made as name:
        folder = Path(name) / "graph"
        folder.mkdir()
        yield folder


def is_whole(path: Path) -> bool:
    """Return whether an ONNX file has all its weights inside, so that its digest says all."""
    return is_self_contained(np.memmap(path, np.uint8, "r").data)


def _digests(folder: Path) -> dict[str, str]:
    return {name: sha256(folder / name) for name in (GRAPH, WEIGHTS) if (folder / name).exists()}


def _digest(prediction: Prediction) -> str:
    return hashlib.sha256(prediction.maps.tobytes() + prediction.scores.tobytes()).hexdigest()


def _processor() -> str:
    """Return a digest of what the processor can do."""
    found = (platform.machine(), *sorted(processor_flags()))
    return hashlib.sha256(" ".join(found).encode()).hexdigest()[:8]


def _remove_unfinished(root: Path) -> None:
    """Remove what starts left that were killed: where memory is short, each one would add to it."""
    for folder in root.glob(f"{_NEW}*"):
        if time.time() - folder.stat().st_mtime > _UNFINISHED_S:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_oldest(root: Path) -> None:
    checks = sorted(root.glob(f"*/{_CHECK}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for check in checks[_MOST:]:
        shutil.rmtree(check.parent, ignore_errors=True)
