"""Write each event as a file into a folder, for another program to collect."""

from __future__ import annotations

import json
from pathlib import Path

from edge_ad.errors import Refused, UsageError
from edge_ad.files import write_text
from edge_ad.outlet.durable import DurableOutlet, Record
from edge_ad.uri import Uri


def open_spool(uri: Uri) -> DurableOutlet:
    """Open `spool:///FOLDER`. The folder may be on a share that is not there yet."""
    if not uri.place.startswith("/"):
        raise UsageError(f"{uri}: expected a folder with its full path, such as spool:///mnt/mes.")
    return Spool(Path(uri.place))


class Spool(DurableOutlet):
    """One file for each event, named after its id: one that comes twice is one file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def connect(self) -> None:
        if not self._folder.is_dir():
            raise FileNotFoundError(f"{self._folder} is not mounted")  # tried again without end

    def deliver(self, record: Record) -> None:
        if len(record.get("regions", ())) > 1000:
            raise Refused("the MES takes at most 1000 regions")  # a dead letter after five times
        write_text(self._folder / f"{record['id']}.json", json.dumps(record))
