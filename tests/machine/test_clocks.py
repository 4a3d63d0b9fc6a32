"""Reading load, clocks and a Jetson's power mode, from files as Linux and nvpmodel write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_ad.machine.clocks import read_clocks, read_power_mode

# The form of /etc/nvpmodel.conf, Jetson Linux Developer Guide, "Power Mode Controls".
CONFIGURATION = """\
# POWER_MODEL DEFINITIONS
< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
FBP_POWER_GATING FBP_PG_MASK 0
< POWER_MODEL ID=2 NAME=MODE_15W_6CORE >
CPU_ONLINE CORE_7 0

# mandatory section to configure the default power mode
< PM_CONFIG DEFAULT=2 >
"""


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.mark.parametrize(
    ("status", "mode"),
    [
        ("pmode:0000", "MAXN"),
        ("pmode:0002\n", "MODE_15W_6CORE"),
        ("pmode:0002 fmode:quiet", "MODE_15W_6CORE"),
        ("pmode:0009", "pmode:0009"),
        ("another form", "another form"),
        ("", ""),
    ],
)
def test_the_power_mode_is_named_as_nvpmodel_does(status: str, mode: str, tmp_path: Path) -> None:
    write(tmp_path, "var/lib/nvpmodel/status", status)
    write(tmp_path, "etc/nvpmodel.conf", CONFIGURATION)
    assert read_power_mode(tmp_path) == mode


def test_without_names_the_status_stays_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, "var/lib/nvpmodel/status", "pmode:0001\n")
    assert read_power_mode(tmp_path) == "pmode:0001"
    assert read_power_mode(tmp_path / "other") == ""


def test_clocks_are_those_of_the_system_files(tmp_path: Path) -> None:
    write(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n")
    write(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1510400\n")
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "45500\n")
    write(tmp_path, "sys/class/thermal/thermal_zone1/temp", "asleep\n")
    write(tmp_path, "var/lib/nvpmodel/status", "pmode:0000\n")
    write(tmp_path, "etc/nvpmodel.conf", CONFIGURATION)
    known = read_clocks(tmp_path)
    known.pop("load_average")
    assert known == {
        "governor": "schedutil",
        "clock_mhz": 1510.4,
        "temperature_c": 45.5,
        "power_mode": "MAXN",
    }
