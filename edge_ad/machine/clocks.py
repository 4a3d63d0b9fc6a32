"""Read what makes a machine fast or slow at the moment: load, clock, power mode, temperature."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from edge_ad.machine.host import ROOT

_POWER_MODEL = re.compile(r"^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", re.MULTILINE)
_CPU = "sys/devices/system/cpu/cpu0/cpufreq"


def read_clocks(root: Path = ROOT) -> dict[str, Any]:
    """Return the load average of one minute, and what else this machine says of itself.

    `governor` and `clock_mhz` are the first core's, `temperature_c` the hottest sensor's,
    `power_mode` a Jetson's. What the machine does not say is left out: a virtual one says little.
    """
    known = {
        "load_average": round(os.getloadavg()[0], 2),
        "governor": _text(root / _CPU / "scaling_governor"),
        "clock_mhz": _number(root / _CPU / "scaling_cur_freq", 1e3),
        "temperature_c": _hottest(root),
        "power_mode": read_power_mode(root),
    }
    return {name: value for name, value in known.items() if value not in ("", None)}


def read_power_mode(root: Path = ROOT) -> str:
    """Return a Jetson's power mode by name, like MAXN or 15W; empty on other machines.

    nvpmodel keeps the number in its status (`pmode:0002`) and the names in its configuration
    (`< POWER_MODEL ID=2 NAME=15W >`), both as in the Jetson Linux Developer Guide. Where the name
    is not known, this is the status as it stands.
    """
    status = _text(root / "var/lib/nvpmodel/status")
    mode = re.search(r"\bpmode:(\d+)", status)
    names = dict(_POWER_MODEL.findall(_text(root / "etc/nvpmodel.conf")))
    return names.get(str(int(mode[1])), status) if mode else status


def _hottest(root: Path) -> float | None:
    sensors = sorted((root / "sys/class/thermal").glob("thermal_zone*/temp"))
    values = [value for path in sensors if (value := _number(path, 1e3)) is not None]
    return max(values, default=None)


def _number(path: Path, unit: float) -> float | None:
    try:
        return float(_text(path)) / unit
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # a sensor that is asleep raises, too
        return ""
