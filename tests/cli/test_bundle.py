"""`edge-ad bundle` as its user calls it: from a line file to a device that goes back."""

from __future__ import annotations

import hashlib
import json
import os
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_ad.cli.bundle_create import Expiry
from edge_ad.cli.bundle_line import bundled_line, device_line, read_line_file
from edge_ad.errors import UsageError
from tests.conftest import CompletedProcess, MakeEngine, invoke, part_image

pytest.importorskip("cryptography")

LINE = """\
engine: green.onnx
alarm-k: 1
cameras:
  - name: top
    source: rtsp://line:${ENV:TOP}@10.0.0.5/stream
    threshold: 0.4
  - name: side
"""
OUTLETS = """\
outlet:
  - https://mes.local/alarms#secret=${ENV:ABSENT}&bearer=${FILE:/run/absent}
  - ${ENV:ABSENT}
"""  # what they stand for is on the devices
SITE = """\
output: shift
cameras:
  - {name: top, source: "pattern://"}
  - {name: side, source: "pattern://", roi: [0, 0, 32, 32], threshold: 0.45}
"""


@pytest.fixture
def plant(tmp_path: Path, make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a line file, its engine, images to test with, and a trusted key."""
    monkeypatch.chdir(tmp_path)
    make_engine()
    Path("line.yaml").write_text(LINE)
    Path("known").mkdir()
    for name, spot in (("good", False), ("bad", True)):
        cv2.imwrite(f"known/{name}.png", part_image(spot=spot))
    assert invoke("keys", "new", "release.key").returncode == 0
    assert invoke("keys", "trust", "release.key.pub", "--trust", "trust.yaml").returncode == 0
    return tmp_path


def create(version: int, *options: object, line: str = "line.yaml") -> CompletedProcess:
    return invoke(
        *("bundle", "create", line, "--product", "plates", "--version", version),
        *("--self-test", "known", "-o", f"{version}.edgead", *options),
    )


def install(version: int, *options: object) -> CompletedProcess:
    trust = ("--into", "device", "--trust", "trust.yaml")
    return invoke("bundle", "install", f"{version}.edgead", *trust, *options)


def status() -> dict[str, Any]:
    return dict(json.loads(invoke("bundle", "status", "device", "--json").stdout))


def test_a_trusted_key_can_be_given_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trust = ("--trust", "trust.yaml")
    assert invoke("keys", "new", "release.key").returncode == 0
    for words in ((), ("--name", "release 2026"), ()):  # the last one keeps the name
        assert invoke("keys", "trust", "release.key.pub", *trust, *words).returncode == 0
    assert re.fullmatch(r"\w{16}  release 2026\n", invoke("keys", "show", *trust).stdout)
    wrong = invoke("keys", "revoke", "release 2025", *trust)
    assert wrong.returncode == 2 and "(names there: 'release 2026')" in wrong.stderr
    assert invoke("keys", "revoke", "release 2026", *trust).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(900)  # it waits for the disk and for processes, each of which can take long
def test_from_a_line_file_to_a_device_and_back(plant: Path) -> None:
    odd = create(7, "--product", "a/b")
    assert odd.returncode == 2 and "no bundle can be made: product: String should" in odd.stderr
    assert "not signed; next: edge-ad bundle sign" in create(7).stdout
    unsigned = install(7)
    assert unsigned.returncode == 3 and "it has no signature" in unsigned.stderr
    assert invoke("bundle", "sign", "7.edgead", "--key", "release.key").returncode == 0
    assert "release.key" in invoke("bundle", "verify", "7.edgead", "--trust", "trust.yaml").stdout
    assert "self-test   4 images for 2 cameras" in invoke("bundle", "inspect", "7.edgead").stdout
    nowhere = install(7)
    assert nowhere.returncode == 2 and "camera side: this device does not say" in nowhere.stderr
    Path("device/site.yaml").write_text(SITE)
    done = install(7)
    assert done.returncode == 0, done.stderr
    assert "plates version 7 is current" in done.stdout and "4 images" in done.stdout
    assert status()["version"] == 7
    checked = invoke("run", "-c", "device/current/run.yaml", "--check", "--json")
    cameras = {camera["camera"]: camera for camera in json.loads(checked.stdout)["cameras"]}
    assert cameras["top"]["threshold"] == 0.4 and cameras["side"]["threshold"] == 0.45
    assert cameras["side"]["geometry"]["roi_xywh"] == [0, 0, 32, 32]
    folder = os.path.realpath(plant / "device")
    assert json.loads(checked.stdout)["output"] == f"{folder}/shift"
    assert create(8, "--key", "release.key").returncode == 0
    failed = install(8, "--restart", "false")
    assert failed.returncode == 1 and "device is back at plates version 7" in failed.stderr
    state = status()
    assert state["version"] == 7 and state["taken_back"][0]["version"] == 8
    again = install(8)
    assert again.returncode == 3 and "taken back" in again.stderr
    assert json.loads(install(8, "--allow-older", "--restart", "true", "--json").stdout)[
        "restarted"
    ]
    Path("device/site.yaml").write_text(SITE.replace("0.45", "0.46"))
    assert json.loads(invoke("bundle", "site", "device", "--json").stdout)["notes"] == []
    back = invoke("bundle", "rollback", "device", "--reason", "bad")
    assert back.returncode == 0 and "back to plates version 7" in back.stdout
    assert "next: start the line again with edge-ad run -c device/current/run.yaml" in back.stdout
    assert "0.46" in Path("device/current/run.yaml").read_text()


def test_what_devices_could_not_run_is_not_made(plant: Path) -> None:
    del plant
    Path("green.onnx.yaml").unlink()
    done = create(7)
    assert done.returncode == 2 and "has no threshold yet" in done.stderr
    assert not Path("7.edgead").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("engine: absent.onnx", "there is no such engine"),
        ("camera: 0", "names no engine"),
        ("engine: green.onnx\nengin: 3", "Did you mean 'engine'"),
        ("engine: green.onnx\ncamera: rtsp://line:secret@h/s", "has a password"),
        ("engine: green.onnx\ncamera: [top=rtsp://line:secret@h/s]", "has a password"),
        ("engine: green.onnx\noutlet: 'https://u:secret@h/hook'", "has a password"),
        ("engine: green.onnx\ncameras:\n- {source: '0'}", "a camera has no name"),
    ],
)
def test_a_line_file_that_is_unfit_is_refused(plant: Path, line: str, message: str) -> None:
    (plant / "line.yaml").write_text(line)
    done = create(7)
    assert done.returncode == 2 and message in done.stderr and "secret" not in done.stderr
    assert not Path("7.edgead").exists()


def test_a_folder_of_images_that_is_no_camera_s_is_refused(plant: Path) -> None:
    for name in ("top", "sde"):
        Path("known", name).mkdir()
        Path("known", name, "bad.png").write_bytes(Path("known/bad.png").read_bytes())
    done = create(1)
    assert done.returncode == 2 and "no camera of the line is called 'sde'" in done.stderr
    assert "Cameras: side, top" in done.stderr and not Path("1.edgead").exists()
    Path("known/sde").rename("known/side")
    Path("known/side/bad.png").rename("known/side/ü.png")
    done = create(1, "--json")
    images = json.loads(done.stdout)["manifest"]["self_test"]["images"]
    assert done.stderr == "" and [(one["image"], one["verdict"]) for one in images] == [
        ("self_test/1-top/001-bad.png", "REJECT"),
        ("self_test/1-top/002-good.png", "PASS"),
        ("self_test/1-top/003-bad.png", "REJECT"),
        ("self_test/2-side/001-bad.png", "REJECT"),
        ("self_test/2-side/002-good.png", "PASS"),
        ("self_test/2-side/003-image.png", "REJECT"),
    ]


@pytest.mark.parametrize(
    ("brightness", "message"), [(102, "near the threshold"), (0, "cannot be judged (black:")]
)
def test_an_image_without_a_certain_verdict_is_refused(
    plant: Path, brightness: int, message: str
) -> None:
    image = part_image() * bool(brightness)
    image[8:20, 20:32] = brightness  # 102 of 255 is 0.4
    cv2.imwrite(str(plant / "known" / "odd.png"), image)
    done = create(7)
    assert done.returncode == 2 and "odd.png: " in done.stderr and message in done.stderr


@pytest.mark.parametrize(
    "options",
    [("--version", 0), *(("--expires", time) for time in ("2020-01-01", "8h", "0d", "0w", "x"))],
)
def test_wrong_options_are_refused(plant: Path, options: tuple[object, ...]) -> None:
    del plant
    assert create(7, *options).returncode == 2


@pytest.mark.parametrize(("text", "days"), [("90d", 90), ("12w", 84)])
def test_a_span_ends_so_long_from_now(text: str, days: int) -> None:
    ends = datetime.fromisoformat(Expiry().convert(text, None, None))
    assert abs(ends - datetime.now(timezone.utc) - timedelta(days)) < timedelta(hours=1)


def test_what_options_say_stands_in_the_manifest(plant: Path) -> None:
    del plant
    Path("line.yaml").write_text(LINE + OUTLETS)
    options = (
        "--expires 2999-01-01T00:00Z --architecture aarch64 --machine line-* --machine lab "
        "--note new-lamp --score-tolerance 0.1 --latency-ms 900 --build-plans --watch-minutes 1 "
        "--watch-parts 2 --watch-reject-rate 0.3 --watch-invalid-rate 0.4 --watch-rise 5 "
        "--watch-faults 6 --watch-restarts 7 --watch-start-s 8 --key release.key"
    )
    done = json.loads(create(1, *options.split(), "--json").stdout)
    manifest = done["manifest"]
    assert manifest["expires_utc"] == "2999-01-01T00:00:00.000+00:00"
    assert manifest["target"] == {"architecture": "aarch64", "machines": ["line-*", "lab"]}
    assert (manifest["note"], manifest["plans"]) == ("new-lamp", ["green.onnx"])
    assert manifest["self_test"]["latency_ms"] == 900
    tolerances = {one["camera"]: one["tolerance"] for one in manifest["self_test"]["images"]}
    assert tolerances == {"top": pytest.approx(0.04), "side": pytest.approx(0.05)}
    assert list(manifest["watch"].values()) == [1, 2, 0.3, 0.4, 5, 6, 7, 8]
    content = Path("1.edgead").read_bytes()
    assert (done["bytes"], done["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    verified = json.loads(
        invoke("bundle", "verify", "1.edgead", "--trust", "trust.yaml", "--json").stdout
    )
    assert verified["signed_by"] == ["release.key"] and len(done["signed_by"]) == 1


def test_a_site_may_not_have_cameras_that_the_bundle_has_not(plant: Path) -> None:
    bundled, files = bundled_line(plant / "line.yaml")
    assert sorted(files) == ["green.onnx", "green.onnx.yaml"]
    (plant / "site.yaml").write_text("cameras:\n- {name: front, source: '0'}\n")
    site = read_line_file(plant / "site.yaml")
    with pytest.raises(UsageError, match=r"camera front, which .* It has: top, side"):
        device_line(bundled, site, plant, plant / "versions" / "7", {})


def test_an_address_in_a_site_takes_no_keys_from_the_bundle_s_cameras() -> None:
    home, one = Path("/srv/line1"), {"name": "top", "source": "pattern://", "threshold": 0.4}
    with pytest.raises(UsageError, match=r"cameras with keys of their own: top\. Write under"):
        device_line({"cameras": [one]}, {"camera": "top=pattern://"}, home, home, {})
    line = device_line({"camera": "0"}, {"cameras": [one]}, home, home, {})
    assert line == {"output": "/srv/line1/output", "cameras": [one]}
    assert device_line({"camera": "0"}, {"camera": "1"}, home, home, {})["camera"] == "1"


def test_paths_are_those_of_the_bundle_or_of_the_device(plant: Path) -> None:
    text = "engine: green.onnx\noutlet: file:a.jsonl\ncamera: top=part.mp4\n"
    (plant / "line.yaml").write_text(text)
    bundled, _ = bundled_line(plant / "line.yaml")
    home, version = Path("/srv/line1"), Path("/srv/line1/versions/7")
    line = device_line(bundled, {}, home, version, {"green.onnx": "green.plan"})
    assert line["engine"] == "/srv/line1/versions/7/green.plan"
    assert line["output"] == "/srv/line1/output"
    assert "/srv/line1/a.jsonl" in str(line["outlet"])
    assert "/srv/line1/part.mp4" in str(line["camera"])


def test_a_command_s_variables_have_its_whole_name(
    plant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del plant
    monkeypatch.setenv("EDGE_AD_BUNDLE_VERIFY_TRUST", "trust.yaml")
    done = invoke("bundle", "verify", "absent.edgead")
    assert done.returncode == 2 and "absent.edgead: cannot be read" in done.stderr
    monkeypatch.setenv("EDGE_AD_BUNDLE_VERIFY_TRUTS", "x")
    assert "EDGE_AD_BUNDLE_VERIFY_TRUST'?" in invoke("bundle", "verify", "absent.edgead").stderr


@pytest.mark.parametrize("action", ["status", "rollback", "site", "watch"])
def test_a_folder_without_a_product_is_an_error(plant: Path, action: str) -> None:
    done = invoke("bundle", action, plant / "nowhere")
    assert done.returncode == 2 and "nothing is installed there" in done.stderr
    assert not (plant / "nowhere").exists()
