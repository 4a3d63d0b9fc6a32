"""Check that OpenCV loads, and describe what replaces it where it does not.

The wheel `opencv-python` needs graphics libraries (libGL, libxcb, libglib), which servers and
containers lack. `opencv-python-headless` is the same OpenCV without windows.
"""

from __future__ import annotations

import importlib
import sys

from edge_ad.errors import IncompatibleError

_HEADLESS = "opencv-python-headless"
WINDOWS_FIX = f"pip uninstall -y {_HEADLESS} && pip install opencv-python"


def require_opencv() -> None:
    """Raise IncompatibleError, with the command that helps, when OpenCV cannot be imported."""
    try:
        importlib.import_module("cv2")
    except ImportError as error:
        raise opencv_problem(error) from error


def opencv_problem(error: ImportError) -> IncompatibleError:
    """Return the error for an OpenCV that does not load."""
    return IncompatibleError(f"{describe_problem(error)} Run: {fix()}")


def describe_problem(error: ImportError) -> str:
    """Return one sentence on why OpenCV does not load."""
    if isinstance(error, ModuleNotFoundError):
        return "OpenCV is not installed."
    reason = " ".join(str(error).split()).rstrip(".")
    if ".so" in reason and "cannot open shared object" in reason:
        return (
            f"OpenCV does not load on this machine ({reason}). Its build without windows, "
            f"{_HEADLESS}, needs no graphics libraries."
        )
    return f"OpenCV does not load ({reason})."


def fix() -> str:
    """Return the command that installs the build without windows in place of any other.

    Both builds own the same files, so that the other one must go first.
    """
    pip = f"{sys.executable} -m pip"
    return f"{pip} uninstall -y opencv-python {_HEADLESS} && {pip} install {_HEADLESS}"
