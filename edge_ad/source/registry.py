"""The kinds of cameras and files that frames can come from.

A new kind is one entry here, a module with its opener, and a test. `open_source`, the help of
`--camera`, error messages, `edge-ad doctor` and the table in docs/line.md read this list. An
installed package adds a scheme by an entry point, see `edge_ad.installed`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_ad.installed import find_entry, installed_names
from edge_ad.uri import Uri, UriKind, unknown_scheme

GROUP = "edge_ad.cameras"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraKind(UriKind):
    """A kind of source. Its opener takes a SourceRequest and returns an iterator of grabs.

    The opener runs in the grabbing thread and raises SourceLost or UsageError. A `live` source
    delivers its newest frame only; `live_rule` names a function that decides that by the URI.
    With `starts_late`, it begins to deliver when somebody iterates; one that `waits` may be without
    a frame for any time, as may one whose `trigger` option is given. `back_end` is the part of
    OpenCV that it needs, or PyAV; `presence` names a function that says cheaply, by the URI,
    whether a lost camera is back. `name` is for lists, `short_forms` need no scheme.
    """

    name: str
    live: bool = True
    live_rule: str = ""
    starts_late: bool = False
    waits: bool = False
    short_forms: tuple[str, ...] = ()
    back_end: str = ""
    presence: str = ""

    def is_live(self, uri: Uri) -> bool:
        """Return whether the source at `uri` delivers its newest frame only."""
        if not self.live_rule:
            return self.live
        return bool(self.load(self.live_rule)(uri))

    def is_triggered(self, uri: Uri) -> bool:
        """Return whether the camera at `uri` is triggered itself: each of its frames is a part."""
        return "trigger" in self.options and "trigger" in uri.options

    def load_presence(self) -> Callable[[Uri], bool] | None:
        """Import the function that says whether a camera is back, None where there is none."""
        return self.load(self.presence) if self.presence else None


_GENICAM = {
    "exposure": "microseconds",
    "gain": "as the camera counts it",
    "fps": "frames per second",
    "format": "pixel format, such as Mono8, Mono12 or BayerRG8",
    "trigger": "input whose signal takes each frame, such as Line1; every frame is a part",
    "bit_depth": "bits that a Mono16 sensor fills, such as 12",
}
CAMERAS = (
    CameraKind(
        name="USB cameras",
        schemes=("v4l2",),
        example="v4l2:///dev/video0?width=1280&height=720&fps=30",
        short_forms=("0", "0?width=1280&height=720&fps=30"),
        description="a USB camera, by its number or device file",
        opener="edge_ad.source.camera:open_v4l2",
        checker="edge_ad.source.camera:check_v4l2",
        options={
            "width": "pixels",
            "height": "pixels",
            "fps": "frames per second",
            "format": "four letters, such as MJPG or Y16",
            "exposure": "fixed, in units of the driver, mostly 100 microseconds",
            "gain": "fixed, in units of the driver",
            "bit_depth": "bits that a Y16 sensor fills, such as 12",
        },
        back_end="V4L2",
        presence="edge_ad.source.presence:device_exists",
    ),
    CameraKind(
        name="videos and images",
        schemes=("file",),
        example="file:///data/part.mp4",
        short_forms=("part.mp4", "part.png", "parts/"),
        description="a video, an image, or a folder of images",
        opener="edge_ad.source.files:open_path",
        live=False,
        options={"bit_depth": "bits that the values of 16-bit files fill, such as 12"},
        place_is_path=True,
        back_end="PyAV",
    ),
    CameraKind(
        name="watched folders",
        schemes=("watch",),
        example="watch:incoming/?then=delete",
        description="a folder that images are written into: each is judged once, when complete",
        opener="edge_ad.source.watch:open_watch",
        checker="edge_ad.source.watch:check_watch",
        syntax="path",
        live=False,
        waits=True,
        options={
            "settle_s": "how long a file must stand still, 0.3",
            "give_up_s": "after how long a file that does not decode is INVALID, 10",
            "then": "keep, delete, or a folder to move judged files to",
            "ledger": "file that remembers judged files, .edge-ad-judged in the folder",
            "bit_depth": "bits that the values of 16-bit files fill, such as 12",
        },
        place_is_path=True,
        path_options={"then": ("keep", "delete"), "ledger": ()},
    ),
    CameraKind(
        name="network cameras",
        schemes=("rtsp", "rtsps", "http", "https"),
        example="rtsp://HOST/PATH",
        description="a network camera; RTSP goes over TCP",
        opener="edge_ad.source.network:open_network",
        checker="edge_ad.source.network:check_network",
        syntax="url",
        back_end="PyAV",
        presence="edge_ad.source.presence:host_answers",
    ),
    CameraKind(
        name="CSI cameras of a Jetson",
        schemes=("csi",),
        example="csi://0?width=1920&height=1080&fps=30",
        description="a camera on a Jetson's CSI port; needs OpenCV with GStreamer",
        opener="edge_ad.source.camera:open_csi",
        checker="edge_ad.source.camera:check_csi",
        options={
            "width": "pixels, 1920",
            "height": "pixels, 1080",
            "fps": "frames per second, 30",
            "flip": "flip-method of nvvidconv, 0",
        },
        back_end="GSTREAMER",
    ),
    CameraKind(
        name="GStreamer pipelines",
        schemes=("gst",),
        example="gst:v4l2src ! jpegdec",
        description="a GStreamer pipeline; needs OpenCV with GStreamer",
        opener="edge_ad.source.camera:open_gstreamer",
        checker="edge_ad.source.camera:check_gstreamer",
        syntax="text",
        back_end="GSTREAMER",
    ),
    CameraKind(
        name="GenICam cameras",
        schemes=("genicam",),
        example="genicam://24512345?exposure=2000&gain=0&format=Mono8",
        description="a GigE or USB3 Vision camera of any maker by serial number or address; needs "
        "the library Aravis",
        opener="edge_ad.source.genicam:open_genicam",
        checker="edge_ad.source.genicam:check_genicam",
        presence="edge_ad.source.presence:genicam_answers",
        options=_GENICAM,
    ),
    CameraKind(
        name="Basler cameras",
        schemes=("pylon",),
        example="pylon://24512345?exposure=2000&gain=0&format=Mono8",
        description="a Basler camera by its serial number, through pypylon; needs the extra pylon",
        opener="edge_ad.source.pylon:open_pylon",
        checker="edge_ad.source.camera:check_settings",
        presence="edge_ad.source.presence:pylon_answers",
        options=_GENICAM,
        extra="pylon",
    ),
    CameraKind(
        name="the synthetic line",
        schemes=("pattern",),
        example="pattern://?seed=1&fps=30&defects=0.25&faults=black@10,freeze@20-30",
        description="the synthetic line, with camera faults on request",
        opener="edge_ad.source.synthetic:open_pattern",
        checker="edge_ad.source.synthetic:parse_pattern",
        live_rule="edge_ad.source.synthetic:is_live",
        starts_late=True,
        options={
            "seed": "plates, belt and light, 0",
            "fps": "frames per second, 30; with 0 every frame, without a clock",
            "frames": "how many, 0 for endless",
            "width": "pixels, 320",
            "height": "pixels, 240",
            "defects": "share of anomalous plates, 0.25",
            "kinds": "of scratch, dent, stain, missing_print",
            "faults": "NAME@FRAME or NAME@FIRST-LAST, with black, white, freeze, torn, bad, drop, "
            "stall or lost",
        },
    ),
)


def camera_prefixes() -> list[str]:
    """Return the beginnings of all camera URIs, such as `rtsp://`."""
    return [prefix for kind in CAMERAS for prefix in kind.prefixes]


def camera_kind(scheme: str) -> CameraKind | None:
    """Return the entry of a scheme, one of an installed package included; None for no entry.

    Raises IncompatibleError when that package has no entry that can be used.
    """
    return find_entry(CAMERAS, GROUP, scheme, CameraKind)


def find_camera(scheme: str) -> CameraKind:
    """Return the entry of a scheme. Raises UsageError when there is none."""
    if kind := camera_kind(scheme):
        return kind
    known = camera_prefixes() + [f"{name}://" for name in installed_names(GROUP)]
    raise unknown_scheme("camera", scheme, known, "A file or folder needs no scheme.")


def camera_help() -> str:
    """Return the help text of `--camera`."""
    prefixes = [prefix for prefix in camera_prefixes() if prefix != "file://"]
    return f"Camera number, file, folder, or a URI: {', '.join(prefixes)}"
