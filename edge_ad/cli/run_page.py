"""The page that `run --page` serves: a process beside the line, which ends with it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

from edge_ad.address import is_loopback, listen_address
from edge_ad.cli.requirements import require_packages
from edge_ad.errors import UsageError

_log = logging.getLogger(__name__)
_ENDS_WITHIN_S = 5.0


class RunPage:
    """The page of a line that runs; one that ends early is a warning, and the line goes on.

    Raises UsageError for an address that other computers could reach, MissingExtra without the
    packages of the page.
    """

    def __init__(self, listen: str) -> None:
        require_packages("page")

        if not is_loopback(listen_address(listen)[0]):
            raise UsageError(
                f"--page {listen}: a line serves its page to this computer. For others, run one "
                "beside the line: edge-ad page DIR --listen HOST:PORT --cert FILE --key FILE"
            )
        self._listen = listen
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path) -> None:
        """Start it, without waiting for it. It prints its address on stderr."""
        command = [sys.executable, "-m", "edge_ad", "page", str(folder), "--listen", self._listen]
        try:
            self._process = subprocess.Popen(
                [*command, "--with-stdin"],
                stdin=subprocess.PIPE,  # closed when the line ends, even by a kill
                stdout=sys.stderr.fileno(),
                start_new_session=True,  # Ctrl-C is for the line
            )
        except OSError as error:  # no memory or no more processes
            _log.warning("the page cannot be started (%s). The line goes on.", error)
            return
        threading.Thread(target=self._watch, args=(self._process,), daemon=True).start()

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        if self._process is process:
            _log.warning("the page has ended with exit code %d. The line goes on.", code)
