"""One entry per kind of camera is enough for help, errors and documentation."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from edge_ad.cli.capture import command as capture
from edge_ad.cli.run import command as run
from edge_ad.source.open import parse_uri
from edge_ad.source.registry import CAMERAS, CameraKind, camera_prefixes, find_camera
from tests.conftest import ROOT

KINDS = pytest.mark.parametrize("kind", CAMERAS, ids=lambda kind: kind.schemes[0])


@KINDS
def test_the_example_of_an_entry_is_of_its_kind_and_its_opener_exists(kind: CameraKind) -> None:
    for text in (kind.example, *kind.short_forms):
        assert find_camera(parse_uri(text).scheme) is kind, text
    if kind.extra:
        pytest.importorskip(f"py{kind.extra}", reason=f"the extra {kind.extra} is not installed")
    assert callable(kind.load_opener())
    assert kind.is_live(parse_uri(kind.example)) is kind.live


def test_no_scheme_stands_twice() -> None:
    assert len(set(camera_prefixes())) == len(camera_prefixes())


@pytest.mark.parametrize("command", [run, capture])
def test_the_help_of_camera_names_every_scheme(command: object) -> None:
    text = "".join(CliRunner().invoke(command, ["--help"]).output.split())  # type: ignore[arg-type]
    assert all(prefix in text for prefix in camera_prefixes() if prefix != "file://")


def docs_row(kind: CameraKind) -> str:
    forms = ", ".join(f"`{form}`" for form in (*kind.short_forms, kind.example))
    options = "; ".join(f"`{name}`: {text}" for name, text in kind.options.items())
    return (
        f"| {forms} | {kind.description} | {options} | {'newest' if kind.live else 'every'} frame |"
    )


@KINDS
def test_the_documentation_has_a_row_for_every_kind(kind: CameraKind) -> None:
    assert docs_row(kind) in (ROOT / "docs" / "line.md").read_text()
