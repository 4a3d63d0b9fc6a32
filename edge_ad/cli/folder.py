"""The folder a command writes into."""

from __future__ import annotations

from pathlib import Path

from edge_ad.errors import OutletLost, UsageError


def make_output_folder(folder: Path, *, overwrite: bool) -> None:
    """Make a run's output folder.

    Raises UsageError when it holds files and `overwrite` is not given (with it, an earlier run's
    log and images are removed), SinkLost when it cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise UsageError(
            f"the output folder {folder} holds files already. Name another one, or give "
            "--overwrite to replace what an earlier run left there."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in ("events.jsonl*", "evidence/*.jpg", "contact-sheet.jpg", "summary.json"):
            for old in folder.glob(pattern):
                old.unlink()
    except OSError as error:
        raise OutletLost(f"{folder}: cannot be written ({error.strerror}).") from error
