"""The device and the arithmetic of a training."""

from __future__ import annotations

from typing import Literal

import torch

from edge_ad.errors import IncompatibleError, UsageError

Arithmetic = Literal["fp32", "bf16", "fp16"]


def pick_device(name: str) -> torch.device:
    """Return the device; `auto` is a CUDA device when there is one.

    Raises UsageError for an unknown name, IncompatibleError for a device this machine lacks.
    """
    cuda = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: no such device; expected auto, cpu or cuda.") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: expected auto, cpu or cuda.")
    if device.type == "cuda" and (not cuda or (device.index or 0) >= torch.cuda.device_count()):
        raise IncompatibleError(
            f"--device {name}: torch {torch.__version__} sees "
            f"{torch.cuda.device_count() if cuda else 'no'} CUDA device(s). Give --device cpu, or "
            "install a torch built for CUDA and check the driver with: edge-ad doctor"
        )
    return device


def arithmetic_for(device: torch.device, requested: Arithmetic | None) -> Arithmetic:
    """Return the requested arithmetic, or the default: mixed precision on CUDA, fp32 elsewhere.

    Mixed precision is bf16 where the GPU has it, else fp16.
    """
    if requested == "fp16" and device.type == "cpu":
        raise UsageError("--arithmetic fp16 needs a GPU; on a CPU give bf16 or fp32.")
    if requested is not None:
        return requested
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
