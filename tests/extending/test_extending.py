"""The examples of docs/extending.md work, and the page shows them as they are."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edge_ad.calibration.ranges import methods
from edge_ad.calibration.ranges.histogram import Histogram
from edge_ad.errors import SourceLost, UsageError
from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.frame import Frame
from edge_ad.outlet.base import Evidence
from edge_ad.outlet.delivery import Deliveries
from edge_ad.outlet.durable import DurableOutlet
from edge_ad.outlet.registry import open_outlet
from edge_ad.source import open_source
from edge_ad.store.store import Store
from tests.extending.conftest import blocks
from tests.timing import LIMIT_S

FOLDER = Path(__file__).parent
Install = Callable[[str, str], ModuleType]
AddEntry = Callable[..., None]
EXAMPLES = {
    "edge_ad/source/recording.py": "recording.py",
    "edge_ad/outlet/spool.py": "spool.py",
    "edge_ad/outlet/udp.py": "udp.py",
}
ALARM = AlarmEvent(AlarmStep.NEW, "a", AlarmKind.DEFECT, "cam", 3, 3, 3, 0.9, 0.5)


@pytest.mark.parametrize("shown", EXAMPLES)
def test_the_page_shows_the_tested_code(shown: str) -> None:
    assert blocks()[shown, ""] == (FOLDER / EXAMPLES[shown]).read_text(encoding="utf-8")


@pytest.fixture
def _camera(install: Install, add_entry: AddEntry) -> None:
    install("recording", "edge_ad.source.recording")
    add_entry("edge_ad/source/registry.py", "CAMERAS")


@pytest.mark.usefixtures("_camera")
def test_a_new_camera_delivers_frames(tmp_path: Path) -> None:
    path = tmp_path / "shift.npy"
    np.save(path, np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((4, 6, 3), np.uint8))
    with open_source(f"npy://{path}?every=2") as source:
        frames = [grab for grab in source if isinstance(grab, Frame)]
    assert [frame.index for frame in frames] == [0, 2, 4]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 2, 4]


@pytest.mark.usefixtures("_camera")
def test_a_new_camera_has_our_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'every'"):
        open_source("npy:///shift.npy?evry=2")
    with pytest.raises(SourceLost, match="no such file"), open_source("npy:///no/x.npy") as source:
        list(source)


@pytest.fixture
def _outlet(install: Install, add_entry: AddEntry) -> None:
    install("udp", "edge_ad.outlet.udp")
    add_entry("edge_ad/outlet/registry.py", "OUTLETS", "udp")


@pytest.mark.usefixtures("_outlet")
def test_a_new_outlet_sends_alarms() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(LIMIT_S)
        outlet = open_outlet(f"udp://127.0.0.1:{listener.getsockname()[1]}")
        outlet.alarmed(ALARM, Evidence())
        outlet.close()
        record = json.loads(listener.recv(65536))
    assert (record["type"], record["event"], record["id"]) == ("alarm", "new", "a")


@pytest.mark.usefixtures("_outlet")
def test_a_new_outlet_names_what_it_expects() -> None:
    with pytest.raises(UsageError, match="expected a host and a port"):
        open_outlet("udp://nowhere")


@pytest.fixture
def _durable(install: Install, add_entry: AddEntry) -> None:
    install("spool", "edge_ad.outlet.spool")
    add_entry("edge_ad/outlet/registry.py", "OUTLETS", "spool")


@pytest.mark.usefixtures("_durable")
def test_a_new_durable_outlet_receives_what_happened_while_its_folder_was_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.outlet.delivery._HOPELESS_S", 0.05)
    share, line = tmp_path / "share", tmp_path / "line"
    line.mkdir()
    for _ in range(2):
        outlet = open_outlet(f"spool://{share}?events=line")
        assert isinstance(outlet, DurableOutlet) and outlet.name == f"spool://{share}"
        with Store(line) as store:
            Deliveries(store, [outlet], ())
        share.mkdir(exist_ok=True)  # for the second line
    steps = [json.loads(path.read_text())["step"] for path in sorted(share.iterdir())]
    assert steps == ["start", "stop", "start", "stop"]  # those of the first line waited
    with pytest.raises(UsageError, match="expected a folder with its full path"):
        open_outlet("spool://share")


def test_a_new_range_method_answers_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "METHODS", dict(methods.METHODS))
    exec(blocks()["calibration/ranges/methods.py", ""], dict(vars(methods)))
    histogram = Histogram()
    histogram.add(np.random.default_rng(0).laplace(size=100_000).astype(np.float32))
    amax = methods.amax_by_method(histogram, steps=127)
    assert methods.methods_named("laplace") == ("laplace",)
    assert amax["laplace"] == pytest.approx(9.89, rel=0.02)
    assert amax["percentile-99.9"] < amax["laplace"] <= amax["minmax"]
