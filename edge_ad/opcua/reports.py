"""Report to the line what was refused: each kind once an hour."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

_KINDS = 50  # that are remembered; what a stranger does must not fill the line's log
_AGAIN_S = 3600.0  # after which a kind is reported again


class Reports:
    """Sends a report when something happens for the first time within an hour."""

    def __init__(
        self, send: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send, self._clock = send, clock
        self._known: dict[str, float] = {}

    def refuse(self, kind: str, address: str, detail: str = "") -> None:
        """Report the first attempt of its kind from an address."""
        self.once(f"{kind} {address}", f"refused {kind} from {address}{detail}")

    def once(self, key: str, text: str) -> None:
        """Report `text` unless something was reported under this key a short time ago."""
        now = self._clock()
        self._known = {each: at for each, at in self._known.items() if now - at < _AGAIN_S}
        if key in self._known or len(self._known) > _KINDS:
            return
        self._known[key] = now
        last = len(self._known) > _KINDS
        self._send("many kinds of attempts; no more are reported for a while" if last else text)


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
