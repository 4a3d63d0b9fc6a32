"""The line as a whole, on real ONNX files and scripted sources."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.engine import ScriptedEngine
from edge_ad.errors import IncompatibleError, SourceLost, SourceTimeout, UsageError
from edge_ad.frame import BadFrame, Frame, Grab
from edge_ad.frame_gate import FrameGate
from edge_ad.geometry import Geometry
from edge_ad.inspection import Verdict
from edge_ad.line import judge
from edge_ad.line.alarm import Alarm, AlarmRule
from edge_ad.line.camera import Camera
from edge_ad.line.config import CameraConfig, LineConfig
from edge_ad.line.inspector import Inspector, Thresholds
from edge_ad.line.open import open_line
from edge_ad.line.supervisor import Supervisor
from edge_ad.line.tally import Tally
from edge_ad.manifest import Manifest
from edge_ad.outlet.base import Outlets
from edge_ad.setting import Setting
from edge_ad.sidecar import load_sidecar
from edge_ad.source import ScriptedSource
from tests.conftest import store_threshold
from tests.line.memory import Memory
from tests.timing import LIMIT_S, wait_until

MakePath = Callable[..., Path]


def part_frame(index: int, *, spot: bool) -> Frame:
    image = np.random.default_rng(index).integers(20, 60, (64, 64, 3)).astype(np.uint8)
    if spot:
        image[8:20, 20:32] = 250
    return Frame(image, index, time.monotonic(), "cam")


def frames(script: str) -> list[Grab]:
    """Return `.` a normal part, `R` one with a bright spot, `x` no image, `b` a black frame."""
    grabs: list[Grab] = []
    for index, letter in enumerate(script):
        if letter == "x":
            grabs.append(BadFrame("no image", index, time.monotonic(), "cam"))
        elif letter == "b":
            black = np.zeros((64, 64, 3), np.uint8)
            grabs.append(Frame(black, index, time.monotonic(), "cam"))
        else:
            grabs.append(part_frame(index, spot=letter == "R"))
    return grabs


def camera(source: Any, reopen: Callable[[], Any] | None = None) -> Camera:
    def no_reopen() -> Any:
        raise SourceLost("gone for good")

    inspector = Inspector(ScriptedEngine(), Thresholds(0.5, 0.5), FrameGate(live=False))
    alarm = Alarm(AlarmRule(), lambda: source.name)
    return Camera(source, reopen or no_reopen, inspector, alarm, Tally())


def run(*cameras: Camera, reopen_for_s: float = 0.0) -> tuple[Supervisor, dict[str, Any], Memory]:
    memory = Memory()
    line = Supervisor(list(cameras), Outlets([memory]), reopen_for_s)
    line.start()
    assert line.wait(LIMIT_S)
    return line, line.finish(), memory


def test_every_frame_gets_a_verdict_and_the_defect_an_alarm() -> None:
    line, result, memory = run(camera(ScriptedSource(frames("..RRR..x.."))))
    line.raise_errors()
    letters = {Verdict.PASS: ".", Verdict.REJECT: "R", Verdict.INVALID: "x"}
    assert "".join(letters[inspection.verdict] for inspection in memory.inspections) == "..RRR..x.."
    assert [event.event.value for event in memory.events] == ["new", "new", "end", "end"]
    counted = {key: result[key] for key in ("frames", "judged", "invalid", "rejected", "alarms")}
    assert counted == {"frames": 10, "judged": 9, "invalid": 1, "rejected": 3, "alarms": 1}
    assert result["latency_ms"]["max"] >= result["engine_ms"]["p50"] > 0


def test_a_rejected_frame_has_its_region() -> None:
    *_, memory = run(camera(ScriptedSource(frames("R"))))
    (region,) = memory.inspections[0].regions
    assert (region.x, region.y, region.width, region.height) == (20, 8, 12, 12)


def test_black_frames_never_reach_the_engine() -> None:
    *_, memory = run(camera(ScriptedSource(frames("bbb."))))
    assert [i.verdict for i in memory.inspections] == [Verdict.INVALID] * 3 + [Verdict.PASS]
    assert memory.inspections[0].reason.startswith("black")


def test_a_run_without_a_single_judged_frame_is_an_error() -> None:
    line, result, _ = run(camera(ScriptedSource(frames("xbx"))))
    assert result["latency_ms"] is None
    with pytest.raises(SourceLost, match="none of its 3 frames could be judged"):
        line.raise_errors()


class Dying(ScriptedSource):
    """Delivers its grabs and then dies, as a live camera does."""

    def __init__(self, grabs: list[Grab], name: str = "dying") -> None:
        super().__init__(grabs, name=name)
        self.live = True

    def __iter__(self) -> Iterator[Grab]:
        yield from super().__iter__()
        raise SourceTimeout(f"{self.name}: no frame for 1 s.")


def test_a_dead_camera_is_a_fault_and_stops_nobody_else() -> None:
    line, result, memory = run(
        camera(Dying(frames(".."), "a")), camera(ScriptedSource(frames("." * 30), name="b"))
    )
    by_name = {counts["source"]: counts for counts in result["cameras"]}
    assert by_name["b"]["judged"] == 30
    assert by_name["a"]["invalid"] == 1 and by_name["a"]["camera_faults"] == 1
    assert any("lost: a: no frame for 1 s." in event.reason for event in memory.events)
    with pytest.raises(SourceLost, match="gone for good"):
        line.raise_errors()


def test_a_camera_that_comes_back_is_judged_again() -> None:
    lives = iter([ScriptedSource(frames("..."), name="again")])
    line, result, _ = run(camera(Dying(frames("..")), lambda: next(lives)), reopen_for_s=5)
    line.raise_errors()
    assert (result["judged"], result["camera_faults"]) == (5, 1)


def test_a_lost_frame_counts_towards_the_frame_limit() -> None:
    dying = camera(Dying(frames("..")), lambda: ScriptedSource(frames("...")))
    dying.tally.frame_limit = 3
    line, result, _ = run(dying, reopen_for_s=5)
    line.raise_errors()
    assert (result["frames"], result["judged"]) == (3, 2)


def test_stopping_ends_an_endless_source_with_the_summary() -> None:
    def endless() -> Iterator[Grab]:
        for index in range(10**9):
            yield part_frame(index, spot=False)

    memory = Memory()
    line = Supervisor([camera(ScriptedSource(endless()))], Outlets([memory]))
    line.start()
    assert memory.received.wait(LIMIT_S)
    line.stop.set()
    assert line.wait(LIMIT_S)
    assert line.finish()["judged"] > 0


def test_a_bug_in_one_thread_is_raised_in_the_caller() -> None:
    def broken() -> Iterator[Grab]:
        yield part_frame(0, spot=False)
        raise ZeroDivisionError

    line, *_ = run(camera(ScriptedSource(broken())))
    with pytest.raises(ZeroDivisionError):
        line.raise_errors()


def test_ignored_polygons_do_not_reject(make_engine: MakePath) -> None:
    ignore = (((16, 4), (40, 4), (40, 24), (16, 24)),)
    inspector = Inspector(
        ScriptedEngine(),
        Thresholds(0.5, 0.5),
        FrameGate(live=False),
        geometry=Geometry(ignore=ignore),
    )
    assert inspector(part_frame(0, spot=True)).inspection.verdict is Verdict.PASS
    everything = Geometry(ignore=(((-9, -9), (99, -9), (99, 99), (-9, 99)),))
    blind = Inspector(
        ScriptedEngine(), Thresholds(0.5, 0.5), FrameGate(live=False), geometry=everything
    )
    with pytest.raises(UsageError, match="cover the whole judged area"):
        blind(part_frame(0, spot=True))


def test_tiles_give_the_regions_of_the_whole_frame(make_engine: MakePath) -> None:
    for tiles in ((1, 1), (2, 2), (3, 1)):
        geometry = Geometry(tiles=tiles, overlap=0.1)
        inspector = Inspector(
            ScriptedEngine(), Thresholds(0.5, 0.5), FrameGate(live=False), geometry=geometry
        )
        inspection = inspector(part_frame(0, spot=True)).inspection
        (region,) = inspection.regions
        assert inspection.verdict is Verdict.REJECT
        assert abs(region.x - 20) <= 2 and abs(region.width - 12) <= 3


def test_a_line_opens_from_files_alone(make_engine: MakePath, make_folder: MakePath) -> None:
    config = LineConfig((str(make_folder("parts", 6, bright=(2, 3))),), make_engine())
    memory = Memory()
    with open_line(config, [memory]) as line:
        line.start()
        assert line.wait(LIMIT_S)
        result = line.finish()
    assert (result["judged"], result["rejected"], result["alarms"]) == (6, 2, 1)
    assert [inspection.file for inspection in memory.inspections][:2] == ["000.png", "001.png"]


def test_a_uri_among_the_outlets_of_open_line_is_refused(make_engine: MakePath) -> None:
    config = LineConfig(("pattern://?seed=1&fps=0",), make_engine())
    outlets: Any = ["file:alarms.jsonl"]
    with pytest.raises(UsageError, match="URIs belong to LineConfig"), open_line(config, outlets):
        pass


def test_an_engine_without_threshold_is_refused_before_any_camera_opens(
    make_engine: MakePath,
) -> None:
    config = LineConfig(("97",), make_engine(threshold=None))
    with pytest.raises(UsageError, match="edge-ad threshold"), open_line(config, []):
        pass


def test_a_given_threshold_wins_over_the_stored_one(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    config = LineConfig((str(make_folder("parts", 4, bright=(1, 2))),), make_engine(), threshold=2)
    with open_line(config, []) as line:
        line.start()
        line.wait(LIMIT_S)
        assert line.finish()["rejected"] == 0


def test_a_sidecar_of_another_engine_is_refused(make_engine: MakePath) -> None:
    path, other = make_engine("a.onnx"), make_engine("b.onnx", side=16)
    path.write_bytes(other.read_bytes())
    with pytest.raises(IncompatibleError), open_line(LineConfig(("0",), path), []):
        pass


def test_cameras_share_one_engine_without_mixing_results(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    folders = make_folder("normal", 25), make_folder("spots", 25, bright=tuple(range(25)))
    memory, before = Memory(), threading.active_count()
    with open_line(LineConfig(tuple(map(str, folders)), make_engine()), [memory]) as line:
        line.start()
        assert line.wait(LIMIT_S)
        line.finish()
    verdicts = {
        name: {result.verdict for result in memory.inspections if result.source.endswith(name)}
        for name in ("normal", "spots")
    }
    assert verdicts == {"normal": {Verdict.PASS}, "spots": {Verdict.REJECT}}
    wait_until(lambda: threading.active_count() <= before)


def test_the_geometry_of_training_travels_with_the_engine(
    make_engine: MakePath, make_folder: MakePath
) -> None:
    """The region of interest of training excludes the spot; a line may set another region."""
    pytest.importorskip("onnx", reason="changes the manifest inside an ONNX file")
    import onnx

    engine, parts = make_engine(threshold=None), make_folder("parts", 3, bright=(0, 1, 2))
    model = onnx.load(engine)
    trained = Manifest(
        method="green", size_hw=(32, 32), geometry=Geometry(roi_xywh=(0, 32, 64, 32))
    )
    model.metadata_props[0].value = trained.to_json()
    onnx.save(model, engine)
    for geometry, rejected in (({}, 0), ({"roi_xywh": (0, 0, 64, 64)}, 3), ({"tiles": (1, 2)}, 0)):
        config = LineConfig((str(parts),), engine, geometry=geometry, threshold=0.5)
        with open_line(config, []) as line:
            line.start()
            assert line.wait(LIMIT_S)
            assert line.finish()["rejected"] == rejected, geometry


def test_a_sidecar_is_read_once_for_all_cameras(
    make_engine: MakePath, make_folder: MakePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(engine: Path, digest: str | None = None) -> Any:
        read.append(engine)
        return load_sidecar(engine, digest)

    monkeypatch.setattr(judge, "load_sidecar", counted)
    engine, parts = make_engine(), str(make_folder("parts", 1))
    with open_line(LineConfig((parts, parts, parts), engine), []):
        assert read == [engine]


def test_links_to_one_engine_have_their_own_sidecars(
    make_engine: MakePath, make_folder: MakePath, tmp_path: Path
) -> None:
    engine, parts = make_engine(threshold=0.5), str(make_folder("parts", 1))
    link = tmp_path / "link.onnx"
    link.symlink_to(engine)
    store_threshold(link, 0.7)
    config = LineConfig((CameraConfig(parts, "a"), CameraConfig(parts, "b", engine=link)), engine)
    with open_line(config, []) as line:
        assert len(line.engines) == 1
        limits = [camera.configured[Setting.THRESHOLD]["threshold"] for camera in line.cameras]
        assert limits == [0.5, 0.7]
