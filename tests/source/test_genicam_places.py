"""Which GenICam camera a URI means, and where it is."""

from __future__ import annotations

import itertools

import pytest

from edge_ad.errors import SourceLost
from edge_ad.source import genicam, open_source
from edge_ad.source.aravis import AravisError, Device
from edge_ad.source.base import SourceRequest
from edge_ad.source.open import parse_uri
from tests.source.test_genicam import fake_camera, needs_aravis

ONE = Device("Maker-One-S1", "S1", "10.0.0.1")
USB = Device("Maker-Two-S2", "S2", "USB3")


@pytest.fixture(autouse=True)
def no_camera_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genicam, "_known", {})


def request(place: str) -> SourceRequest:
    uri = f"genicam://{place}"
    return SourceRequest(parse_uri(uri), uri)


@pytest.mark.parametrize(
    ("place", "devices", "opened"),
    [
        ("S1", [ONE, USB], "10.0.0.1"),
        ("10.0.0.1", [USB, ONE], "10.0.0.1"),
        ("Maker-One-S1", [ONE, USB], "10.0.0.1"),
        ("S2", [ONE, USB], "Maker-Two-S2"),
        ("", [USB], "Maker-Two-S2"),
        ("", [ONE, USB], "none"),
        ("S3", [ONE], "none"),
    ],
)
def test_a_camera_is_opened_by_each_of_its_names(
    monkeypatch: pytest.MonkeyPatch, place: str, devices: list[Device], opened: str
) -> None:
    def refuse(device_id: str) -> None:
        raise AravisError(f"{device_id} is busy")

    monkeypatch.setattr(genicam, "list_devices", lambda: devices)
    monkeypatch.setattr(genicam, "AravisCamera", refuse)
    message = f"{opened} is busy. Another program" if opened != "none" else "no such GenICam camera"
    with pytest.raises(SourceLost, match=message):
        genicam.open_genicam(request(place))


def test_all_cameras_are_listed_for_one_that_is_not_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed: list[int] = []
    looks = itertools.count(1)

    def list_devices() -> list[Device]:
        listed.append(1)
        return [ONE]

    monkeypatch.setattr(genicam, "list_devices", list_devices)
    monkeypatch.setattr(genicam, "answers_at", lambda address: address == "10.0.0.1")
    monkeypatch.setattr(genicam, "_looks", looks)
    assert genicam.answers(parse_uri("genicam://S1")) and len(listed) == 1
    assert not genicam.answers(parse_uri("genicam://S2")) and len(listed) == 2
    genicam._known["S1"] = ONE
    assert genicam.answers(parse_uri("genicam://S1")) and len(listed) == 2, "it answers there"
    genicam._known["S1"] = Device("Maker-One-S1", "S1", "10.0.0.9")
    answers = [genicam.answers(parse_uri("genicam://S1")) for _ in range(30)]
    assert answers == [False] * 29 + [True] and len(listed) == 3


@needs_aravis
@pytest.mark.slow
@pytest.mark.timeout(60)
def test_another_camera_at_the_address_is_left_alone() -> None:
    with fake_camera("EDGEAD9"):
        open_source("genicam://EDGEAD9", timeout_s=20).close()
    with fake_camera("EDGEAD10"):
        with pytest.raises(SourceLost, match=r"no such .* EDGEAD10 \(127\.0\.0\.1\)"):
            open_source("genicam://EDGEAD9", timeout_s=20)
        with open_source("genicam://EDGEAD10", timeout_s=20) as source:
            next(iter(source))
