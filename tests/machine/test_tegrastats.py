"""Jetson's GPU load, from lines as NVIDIA documents them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_ad.machine.gpu import read_gpu_load
from edge_ad.machine.tegrastats import parse_tegrastats, read_tegrastats

# after the table of statistics in the Jetson Linux Developer Guide, "tegrastats Utility"
XAVIER = (
    "RAM 220/38955MB (lfb 847x4MB) SWAP 0/1978MB (cached 0MB) "
    "CPU [1%@102,5%@102,0%@102,off] EMC_FREQ 7%@408 GR3D_FREQ 13%@204 APE 150 "
    "AO@31.5C GPU@33C tj@34.5C Tdiode@36.25C VDD_IN 5079mW/5079mW"
)
ORIN = (
    "09-20-2026 17:38:28 RAM 3532/7620MB (lfb 1x4MB) SWAP 0/3810MB (cached 0MB) "
    "CPU [1%@729,0%@729,off,off] EMC_FREQ 0%@2133 GR3D_FREQ 97%@[305] VIC off APE 200 "
    "cpu@47.562C soc2@46.125C gpu@46.5C tj@47.562C VDD_IN 4940mW/4940mW"
)
ASLEEP = "RAM 900/62801MB (lfb 9x4MB) GR3D_FREQ 0%@[0,0] GPU@-256C CV0@-256C tj@44.25C"


@pytest.mark.parametrize(
    ("line", "busy", "memory", "temperature"),
    [(XAVIER, 13, 220, 33.0), (ORIN, 97, 3532, 46.5), (ASLEEP, 0, 900, 44.25)],
)
def test_a_documented_line_is_read(
    line: str, busy: float, memory: float, temperature: float
) -> None:
    assert parse_tegrastats(line) == {
        "utilization_percent": busy,
        "memory_used_mib": memory,
        "temperature_celsius": temperature,
    }


@pytest.mark.parametrize("line", ["", "RAM of 3 MB", "tegrastats: permission denied", "gpu@hot"])
def test_another_line_says_nothing(line: str) -> None:
    assert parse_tegrastats(line) == {}


def make_tegrastats(folder: Path, body: str) -> None:
    script = folder / "tegrastats"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)


def test_a_jetson_without_nvidia_smi_has_a_gpu_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program goes on for ever, as the real one does; its first line is enough."""
    make_tegrastats(tmp_path, f"while :; do echo '{ORIN}'; done")
    monkeypatch.setenv("PATH", str(tmp_path))
    values = {name: value for name, _, value in read_gpu_load(timeout_s=30)}
    assert values == {
        "utilization_percent": 97, "memory_used_mib": 3532, "temperature_celsius": 46.5,
    }  # fmt: skip


def test_a_tegrastats_that_says_nothing_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tegrastats(tmp_path, "exec /bin/sleep 600")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_tegrastats(timeout_s=0.05) == {}
