"""`edge-ad sheet`: the newest evidence images of a line on one image."""

from __future__ import annotations

from pathlib import Path

import click

from edge_ad.cli.options import emit, shared


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The sheet (.jpg) [default: contact-sheet.jpg in DIR].",
)
@click.option(
    "--count", default=24, show_default=True, type=click.IntRange(1, 200), help="Images on it."
)
@shared
def command(*, folder: Path, output: Path | None, count: int, as_json: bool) -> None:
    """Draw the newest evidence images of a line on one sheet, also while the line runs."""
    from edge_ad.cli.output import output_file
    from edge_ad.errors import DataError
    from edge_ad.files import write_bytes
    from edge_ad.outlet.evidence import draw_sheet
    from edge_ad.store.reading import open_reading

    output = output or folder / "contact-sheet.jpg"
    with open_reading(folder), output_file(output, ".jpg") as path:
        sheet = draw_sheet(folder / "evidence", count)
        if not sheet:
            raise DataError(f"{folder} has no evidence images: no part was rejected yet.")
        write_bytes(path, sheet)
    emit({"type": "sheet", "file": str(output)}) if as_json else click.echo(str(output))
