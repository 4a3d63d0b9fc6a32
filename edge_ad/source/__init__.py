"""Frames come from here: a URI becomes an iterator of grabs.

    with open_source("0") as source:
        for grab in source:  # Frame | BadFrame
            ...

0, 0?width=1280&height=720&fps=30    v4l2:///dev/video0
part.mp4, part.png, parts/           a video, an image, a folder of images
rtsp://HOST/PATH, http://HOST/PATH   a network camera
csi://0?width=1920&height=1080&fps=30   a camera on a Jetson's CSI port
gst:PIPELINE                         any GStreamer pipeline
pattern://?seed=1&fps=30             the synthetic line
"""

from edge_ad.source.base import ScriptedSource, Source
from edge_ad.source.open import open_source

__all__ = ["ScriptedSource", "Source", "open_source"]
