"""Tell the line what was refused: each kind once."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

_KINDS = 50  # that are reported; what a stranger does must not fill the line's log


class Reports:
    """Sends a report when something happens for the first time. `refused` counts all of them."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._known: set[str] = set()
        self.refused = 0

    def refuse(self, kind: str, address: str, detail: str = "") -> None:
        """Count an attempt that was refused, and report the first of its kind from an address."""
        self.refused += 1
        self.once(f"{kind} {address}", f"refused {kind} from {address}{detail}")

    def once(self, key: str, text: str) -> None:
        """Report `text` unless something was reported under this key."""
        if key in self._known or len(self._known) > _KINDS:
            return
        self._known.add(key)
        last = len(self._known) > _KINDS
        self._send("many kinds of attempts; more are counted only" if last else text)


class ReportHandler(logging.Handler):
    """Reports what the OPC UA library warns of, each kind once, without its values."""

    def __init__(self, reports: Reports) -> None:
        super().__init__(logging.WARNING)
        self._reports = reports

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0] if record.exc_info else None
        text = re.sub(r"%[.\d]*[a-z]", "…", str(record.msg))
        text += f" ({error.__name__})" if error else ""
        self._reports.once(f"{record.module}:{record.lineno}", f"the server warns: {text[:200]}")
