"""What a Jetson's GPU does, by NVIDIA's tegrastats; a Jetson has no nvidia-smi.

The format is that of the Jetson Linux Developer Guide, "tegrastats Utility": `RAM X/YMB`,
`GR3D_FREQ X%`, `NAME@XC`, and from JetPack 5 on a date before it.
"""

from __future__ import annotations

import re
import subprocess
import threading

_RAM = re.compile(r"\bRAM (\d+)/\d+MB")
_GPU = re.compile(r"\bGR3D_FREQ (\d+)%")
_SENSOR = re.compile(r"\b(gpu|tj)@(-?\d+(?:\.\d+)?)C", re.IGNORECASE)
_COMMAND = ("tegrastats", "--interval", "100")
_OFF_C = -200.0  # a sensor whose part is powered down reads -256


def read_tegrastats(timeout_s: float = 2.0) -> dict[str, float]:
    """Return what the first line says; empty without tegrastats, or when it is silent."""
    try:
        process = subprocess.Popen(
            _COMMAND, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
        )
    except OSError:
        return {}
    with process:
        timer = threading.Timer(timeout_s, process.kill)
        timer.start()
        assert process.stdout is not None
        line = process.stdout.readline()
        timer.cancel()
        process.kill()  # it would go on for ever
    return parse_tegrastats(line)


def parse_tegrastats(line: str) -> dict[str, float]:
    """Return utilization_percent, memory_used_mib and temperature_celsius, where a line has them.

    Memory is that of CPU and GPU, which share it. The temperature is the GPU's, or the hottest
    place's (tj) while the GPU is powered down.
    """
    values: dict[str, float] = {}
    if busy := _GPU.search(line):
        values["utilization_percent"] = float(busy[1])
    if used := _RAM.search(line):
        values["memory_used_mib"] = float(used[1])
    sensors = {name.lower(): float(value) for name, value in _SENSOR.findall(line)}
    awake = [sensors[name] for name in ("gpu", "tj") if sensors.get(name, _OFF_C) > _OFF_C]
    if awake:
        values["temperature_celsius"] = awake[0]
    return values
