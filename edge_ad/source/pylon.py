"""Open Basler cameras with pypylon (`pylon://SERIAL`)."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Iterator
from typing import Any

from edge_ad.errors import SourceLost, UsageError
from edge_ad.frame import BadFrame, Grab
from edge_ad.images import BitDepth
from edge_ad.source.base import SourceRequest, warn_of_trigger
from edge_ad.source.camera import depth_of_format, to_grab
from edge_ad.uri import number

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about its SWIG types; where warnings are errors, it crashes
    from pypylon import genicam, pylon

_LOOK_MS = 250  # between looks whether the camera was removed or the source closed
# Names of a setting: of USB and newer GigE cameras, then of older ones.
_SETTINGS = {
    "exposure": ("ExposureTime", "ExposureTimeAbs"),
    "gain": ("Gain", "GainRaw"),
    "fps": ("AcquisitionFrameRate", "AcquisitionFrameRateAbs"),
}
_AUTOMATIC = {"exposure": "ExposureAuto", "gain": "GainAuto"}


def open_pylon(request: SourceRequest) -> Iterator[Grab]:
    """Open a Basler camera by its serial number or user-defined name, or the only one there is.

    Raises SourceLost when it is absent or in use, UsageError for a setting that it refuses.
    """
    factory = pylon.TlFactory.GetInstance()
    try:
        camera = pylon.InstantCamera(factory.CreateDevice(_find(factory, request)))
        camera.Open()
    except genicam.GenericException as error:
        raise SourceLost(
            f"{request.name} does not open: {_reason(error)}. Another program may be using it."
        ) from error
    try:
        _apply(camera, request)
    except BaseException as error:
        removed = camera.IsCameraDeviceRemoved()
        camera.Close()
        if removed:  # it refuses every setting
            raise SourceLost(f"{request.name}: the camera was removed while it opened.") from error
        raise
    return _grabs(camera, request)


def list_names() -> list[tuple[str, str]]:
    """Return serial number and user-defined name of each camera that answers."""
    devices = pylon.TlFactory.GetInstance().EnumerateDevices()
    return [(device.GetSerialNumber(), device.GetUserDefinedName()) for device in devices]


def _find(factory: Any, request: SourceRequest) -> Any:
    wanted, devices = request.uri.place, factory.EnumerateDevices()
    names = {device.GetUserDefinedName(): device for device in devices}
    names |= {device.GetSerialNumber(): device for device in devices}
    if wanted and wanted in names:
        return names[wanted]
    if not wanted and len(devices) == 1:
        return devices[0]
    there = ", ".join(device.GetSerialNumber() for device in devices) or "none"
    raise SourceLost(
        f"{request.name}: no such Basler camera. Serial numbers here: {there}. Check its cable and "
        "power, and for a GigE camera that its address fits this network."
    )


def _apply(camera: Any, request: SourceRequest) -> None:
    nodes, options = camera.GetNodeMap(), request.uri.options
    _set_trigger(nodes, request)
    if "format" in options:
        _set(nodes, ("PixelFormat",), options["format"], request.name, "format")
    if "fps" in options and nodes.GetNode("AcquisitionFrameRateEnable"):
        nodes.GetNode("AcquisitionFrameRateEnable").FromString("true")
    for option, names in _SETTINGS.items():
        if option not in options:
            continue
        value = number(request.uri, option, 0)
        automatic = nodes.GetNode(_AUTOMATIC.get(option, ""))
        if automatic is not None and genicam.IsWritable(automatic):
            automatic.SetValue("Off")
        _set(nodes, names, value, request.name, option)


def _set_trigger(nodes: Any, request: SourceRequest) -> None:
    """Let the camera wait for a trigger at an input, where one is named; else warn if it does."""
    trigger = request.uri.options.get("trigger")
    if trigger is None:
        mode, source = nodes.GetNode("TriggerMode"), nodes.GetNode("TriggerSource")
        if mode is not None and genicam.IsReadable(mode) and mode.GetValue() == "On":
            warn_of_trigger(request, source.GetValue())
        return
    _set(nodes, ("TriggerSelector",), "FrameStart", request.name, "trigger")
    _set(nodes, ("TriggerSource",), trigger, request.name, "trigger")
    _set(nodes, ("TriggerMode",), "On", request.name, "trigger")


def _set(nodes: Any, names: tuple[str, ...], value: float | str, camera: str, option: str) -> None:
    """Set the first of these settings that the camera has."""
    node = next((node for name in names if (node := nodes.GetNode(name)) is not None), None)
    if node is None or not genicam.IsWritable(node):
        raise UsageError(f"{camera}: this camera has no {option} to set.")
    try:
        node.SetValue(round(value) if isinstance(node, genicam.IInteger) else value)  # type: ignore[arg-type]
    except genicam.GenericException as error:
        raise UsageError(
            f"{camera}: option {option}={value} is refused: {_limits(node)}"
        ) from error


def _limits(node: Any) -> str:
    if isinstance(node, genicam.IEnumeration):
        return f"it has {', '.join(node.Symbolics)}."
    return f"it takes {node.GetMin():g} to {node.GetMax():g}."


def _grabs(camera: Any, request: SourceRequest) -> Iterator[Grab]:
    name = request.name
    try:
        camera.StartGrabbing(_strategy(request))
        for index in itertools.count():
            result = _next_result(camera, request)
            if result is None:
                return
            try:
                yield _to_grab(result, index, request)
            finally:
                result.Release()
    except genicam.GenericException as error:
        raise SourceLost(f"{name}: the camera stopped delivering: {_reason(error)}.") from error
    finally:
        camera.Close()


def _strategy(request: SourceRequest) -> Any:
    if "trigger" in request.uri.options:  # each frame is a part
        return pylon.GrabStrategy_OneByOne
    return pylon.GrabStrategy_LatestImageOnly


def _next_result(camera: Any, request: SourceRequest) -> Any:
    """Return the next grab, or None once the source is closed; the reader limits the wait."""
    while not request.closed.is_set():
        result = camera.RetrieveResult(_LOOK_MS, pylon.TimeoutHandling_Return)
        if result is not None and result.IsValid():
            return result
        if camera.IsCameraDeviceRemoved():
            raise SourceLost(
                f"{request.name}: the camera was removed. Check its cable, power and network."
            )
    return None


def _to_grab(result: Any, index: int, request: SourceRequest) -> Grab:
    if not result.GrabSucceeded():
        reason = f"the grab failed: {result.GetErrorDescription()}"
        return BadFrame(reason, index, time.monotonic(), request.name)
    kind = result.GetPixelType()
    bits = pylon.BitDepth(kind)
    depth: BitDepth | None = None
    if pylon.IsMono(kind) and bits > 8:
        depth = depth_of_format(f"Mono{bits}", bits if bits < 16 else None, request)
        image = _converted(result, pylon.PixelType_Mono16)
    else:
        grey = pylon.IsMono(kind)
        image = _converted(result, pylon.PixelType_Mono8 if grey else pylon.PixelType_BGR8packed)
    return to_grab(image, index, request.name, depth)


def _converted(result: Any, kind: Any) -> Any:
    """Return the image in another pixel format; deep values stay in the lower bits."""
    converter = pylon.ImageFormatConverter()
    converter.OutputPixelFormat = kind
    converter.OutputBitAlignment.Value = pylon.OutputBitAlignment_LsbAligned
    return converter.Convert(result).GetArray()


def _reason(error: Exception) -> str:
    return str(error).partition(" : ")[0].strip().rstrip(".") or type(error).__name__
