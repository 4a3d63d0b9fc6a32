"""Run Aravis' fake GigE Vision camera, which speaks the real protocol, until it is killed.

The program `arv-fake-gv-camera-0.8` is this class of the library, too.
"""

from __future__ import annotations

import ctypes
import sys
import threading


def main(serial: str) -> None:
    """Serve on the loopback interface; print a line once it is there."""
    library = ctypes.CDLL("libaravis-0.8.so.0")
    make, is_running = library.arv_gv_fake_camera_new, library.arv_gv_fake_camera_is_running
    make.restype, make.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p]
    is_running.argtypes = [ctypes.c_void_p]
    camera = make(b"127.0.0.1", serial.encode())
    print("running" if camera and is_running(camera) else "failed", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
