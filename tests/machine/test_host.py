"""Reading the computer from a system's files."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from edge_ad.machine.camera import read_cameras
from edge_ad.machine.host import (
    Jetson,
    adds_int8_exactly,
    processor_flags,
    read_host,
    read_jetson,
)

RELEASE = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan\n"
)


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_processor_and_memory_come_from_proc(tmp_path: Path) -> None:
    write(tmp_path, "proc/cpuinfo", "processor : 0\nmodel name\t: Example CPU 9\n")
    write(tmp_path, "proc/meminfo", "MemTotal:        4096000 kB\n")
    host = read_host(tmp_path)
    assert (host.processor, host.memory_mib) == ("Example CPU 9", 4000)
    assert host.cores >= 1


@pytest.mark.parametrize("key", ["flags\t\t", "Features\t"])
def test_instruction_sets_come_from_proc(key: str, tmp_path: Path) -> None:
    write(tmp_path, "proc/cpuinfo", f"model name\t: CPU\n{key}: fpu avx512_vnni\n")
    assert processor_flags(tmp_path) == {"fpu", "avx512_vnni"}


@pytest.mark.parametrize(
    ("machine", "flags", "exact"),
    [
        ("x86_64", "fpu avx2", False),
        ("x86_64", "fpu avx2 avx_vnni", True),
        ("AMD64", "fpu avx512f avx512_vnni", True),
        ("x86_64", None, False),
        ("aarch64", "fp asimd asimddp", True),
        ("aarch64", None, True),
    ],
)
def test_sums_of_int8_are_exact_with_vnni_and_on_arm(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    flags: str | None,
    *,
    exact: bool,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    if flags is not None:
        write(tmp_path, "proc/cpuinfo", f"flags\t\t: {flags}\n")
    assert adds_int8_exactly(tmp_path) is exact


def test_a_system_without_proc_is_still_described(tmp_path: Path) -> None:
    host = read_host(tmp_path)
    assert host.memory_mib == 0
    assert host.processor


def test_a_jetson_is_identified_by_its_release_file(tmp_path: Path) -> None:
    write(tmp_path, "etc/nv_tegra_release", RELEASE)
    write(tmp_path, "proc/device-tree/model", "NVIDIA Jetson Orin Nano\0")
    assert read_jetson(tmp_path) == Jetson("NVIDIA Jetson Orin Nano", "36.4.3", "6")


def test_other_machines_are_not_a_jetson(tmp_path: Path) -> None:
    assert read_jetson(tmp_path) is None


def test_a_release_file_of_a_later_kind_gives_no_error(tmp_path: Path) -> None:
    write(tmp_path, "etc/nv_tegra_release", "# R99 (release), REVISION: 0.0\n")
    assert read_jetson(tmp_path) == Jetson("unknown", "99.0.0", "unknown")


def test_video_devices_come_by_number_with_their_names(tmp_path: Path) -> None:
    for number in (10, 2):
        write(tmp_path, f"dev/video{number}", "")
    write(tmp_path, "dev/video-codec", "")
    write(tmp_path, "sys/class/video4linux/video2/name", "Example Camera\n")
    found = read_cameras(tmp_path)
    assert [(one.device, one.name) for one in found] == [
        ("/dev/video2", "Example Camera"),
        ("/dev/video10", "unknown"),
    ]
    assert all(one.readable for one in found)
