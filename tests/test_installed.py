"""Cameras, outlets and methods of other installed packages are as good as our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_ad.errors import IncompatibleError, UsageError
from edge_ad.methods.registry import METHODS, all_methods, method_entry, title_of
from edge_ad.outlet.registry import check_outlet, is_durable, open_outlet, outlet_in_folder
from edge_ad.source import open_source
from edge_ad.source.open import camera_in_folder, check_source, is_live
from tests.conftest import invoke

_PACKAGE = """\
from edge_ad.methods.registry import MethodEntry
from edge_ad.outlet.base import Outlet
from edge_ad.outlet.durable import DurableOutlet
from edge_ad.outlet.registry import OutletKind
from edge_ad.source.registry import CameraKind


class Bell(Outlet):
    def __init__(self, uri):
        self.uri = uri


class Spool(DurableOutlet):
    def __init__(self, uri):
        self.uri = uri


def blank(request):
    import time

    import numpy as np

    from edge_ad.frame import Frame

    for index in range(int(request.uri.options.get("frames", 2))):
        yield Frame(np.full((4, 6, 3), index, np.uint8), index, time.monotonic(), request.name)


def camera(scheme, opener, **fields):
    return CameraKind(
        name=scheme, schemes=(scheme,), example=f"{scheme}://1", description="blank frames",
        opener=opener, options={"frames": "how many", "mask": "a file"}, live=False,
        path_options={"mask": ()}, **fields,
    )


def outlet(scheme, opener, **fields):
    return OutletKind(
        schemes=(scheme,), example=f"{scheme}://hall", description="rings", opener=opener,
        options={"tone": "a to g"}, **fields,
    )


BLANK = camera("blank", "bell:blank")
LOST = camera("lost", "surely_absent:blank")
BELL = outlet("bell", "bell:Bell")
SPOOL = outlet("spool", "bell:Spool", durable=True)
LIAR = outlet("liar", "bell:Spool")
REPAIR = MethodEntry(
    name="repair", title="Repair", idea="an autoencoder", needs="nothing", choose="an example",
    fidelity="reconstructed", source="here", network="repair.network", training="repair.training",
    parameter_prefix="autoencoder.",
)
"""
_ENTRIES = """\
[edge_ad.cameras]
blank = bell:BLANK
other = bell:BLANK
lost = bell:LOST
typo = typo:BLANK
[edge_ad.outlets]
bell = bell:BELL
spool = bell:SPOOL
liar = bell:LIAR
opener = bell:Bell
broken = surely_absent:BELL
old = bell:GONE
[edge_ad.methods]
repair = bell:REPAIR
draem = bell:REPAIR
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site"
    info = folder / "bell-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "bell.py").write_text(_PACKAGE)
    (folder / "typo.py").write_text("BLANK = (:\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bell\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(_ENTRIES)
    monkeypatch.syspath_prepend(str(folder))


def test_a_camera_of_a_package_delivers_frames_with_its_options() -> None:
    assert not is_live("blank://1")
    with open_source("blank://1?frames=3") as source:
        assert [grab.index for grab in source] == [0, 1, 2]
    with pytest.raises(UsageError, match=r"has no option 'frame'. Did you mean 'frames'"):
        check_source("blank://1?frame=3")
    with pytest.raises(UsageError, match=r"Did you mean blank://\?.*rtsp://.*blank://, lost://"):
        check_source("blnk://1")


def test_paths_in_uris_of_a_package_are_relative_to_a_line_file(tmp_path: Path) -> None:
    text = camera_in_folder("blank://1?mask=m.png", tmp_path)
    assert text == f"blank://1?mask={tmp_path}/m.png"
    assert outlet_in_folder("bell://hall", tmp_path) == "bell://hall"


def test_an_outlet_of_a_package_is_opened_with_its_options() -> None:
    bell = open_outlet("bell://hall?tone=a")
    assert type(bell).__name__ == "Bell" and vars(bell)["uri"].options == {"tone": "a"}
    with pytest.raises(UsageError, match=r"has no option 'tune'. Did you mean 'tone'"):
        check_outlet("bell://hall?tune=a")
    with pytest.raises(UsageError, match=r"Did you mean bell:\?.*file:, .*bell:, broken:"):
        open_outlet("bel://hall")


def test_a_durable_outlet_of_a_package_is_known_before_it_is_opened() -> None:
    assert is_durable("spool://hall") and not is_durable("bell://hall")
    assert vars(open_outlet("spool://hall?events=alarm"))["types"] == ("alarm",)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("broken://hall", r"surely_absent:BELL, which cannot be imported \(ModuleNotFoundError: "),
        ("old://hall", r"bell:GONE, which cannot be imported \(AttributeError: "),
        (
            "opener://hall",
            r"is <class 'bell.Bell'>. Expected an entry of a registry, OutletKind, of this",
        ),
        ("liar://hall", r"bell:Spool returned Spool. Expected an edge_ad.Outlet, .*durable=False"),
    ],
)
def test_an_outlet_that_cannot_be_used_is_named(uri: str, message: str) -> None:
    with pytest.raises(IncompatibleError, match=message):
        open_outlet(uri)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("typo://1", r"typo:BLANK, which cannot be imported \(SyntaxError: "),
        ("other://1", "registry, CameraKind, of this name"),
        ("lost://1", r"lost:// needs surely_absent:blank, which cannot be imported"),
    ],
)
def test_a_camera_that_cannot_be_used_is_named(uri: str, message: str) -> None:
    with pytest.raises(IncompatibleError, match=message):
        check_source(uri)


def test_a_method_of_a_package_is_listed_and_described_behind_our_own() -> None:
    assert list(all_methods()) == [*METHODS, "repair"] and title_of("repair") == "Repair"
    assert all_methods()["draem"] is METHODS["draem"]
    printed = invoke("methods", "repair")
    assert "Repair: an autoencoder" in printed.stdout and printed.returncode == 0
    with pytest.raises(UsageError, match=r"no method 'repiar'; this version has: .*, repair\."):
        method_entry("repiar")


def test_doctor_lists_what_packages_bring() -> None:
    features = json.loads(invoke("doctor", "--json").stdout)["features"]
    found = {one["name"]: one for one in features}
    assert not found["camera blank:// (blank frames)"]["missing"]
    assert "typo:BLANK, which cannot be imported" in found["camera typo://"]["fix"]
    assert not found["outlet spool:// (rings)"]["missing"] and found["outlet old://"]["missing"]
