"""Cache of measured results, so that an interrupted search can resume."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from edge_ad.files import write_text

_log = logging.getLogger(__name__)


class ResultCache:
    """Keep results by key in a JSON file; without a path, in memory only.

    `identity` covers everything the results depend on; a file of another identity is ignored.
    """

    def __init__(self, path: Path | None, identity: str, *, resume: bool) -> None:
        self._path, self._identity = path, identity
        self._results: dict[str, Any] = self._read() if resume else {}

    def __contains__(self, key: str) -> bool:
        return key in self._results

    def get(self, key: str, measure: Callable[[], Any]) -> Any:
        """Return the result under `key`; measure and save it if it is missing."""
        if key not in self._results:
            self._results[key] = measure()
            self._write()
        return self._results[key]

    def _read(self) -> dict[str, Any]:
        if self._path is None or not self._path.exists():
            return {}
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(content, dict) or content.get("identity") != self._identity:
            _log.warning(
                "%s belongs to another model, image set or target; starting again", self._path
            )
            return {}
        return dict(content["results"])

    def _write(self) -> None:
        if self._path:
            content = {"identity": self._identity, "results": self._results}
            write_text(self._path, json.dumps(content, indent=1) + "\n")


def identity(parts: Iterable[object]) -> str:
    """Return a digest of everything that results depend on."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()
