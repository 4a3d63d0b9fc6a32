"""Serve a GStreamer pipeline by RTSP, as many network cameras do.

Run by the system's Python, which has GStreamer: gst_camera.py PORT PIPELINE [METHOD PASSWORD].
Prints "ready". With `basic` or `digest` and a password it serves the user `inspector` alone.
"""

import sys

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import (  # type: ignore[import-not-found]  # noqa: E402
    GLib,
    Gst,
    GstRtsp,
    GstRtspServer,
)

Gst.init(None)
server = GstRtspServer.RTSPServer(service=sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(sys.argv[2])
factory.set_shared(True)  # clients join a camera's stream between key frames
if len(sys.argv) > 3:
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "inspector")
    allowed = "inspector,media.factory.access=(bool)true,media.factory.construct=(bool)true"
    factory.add_role_from_structure(Gst.Structure.from_string(allowed)[0])
    if sys.argv[3] == "basic":
        basic = GstRtspServer.RTSPAuth.make_basic("inspector", sys.argv[4])
        auth.add_basic(basic, token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest("inspector", sys.argv[4], token)
    server.set_auth(auth)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
