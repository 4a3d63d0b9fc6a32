"""The packages that a verb needs at any time of its run, checked before it begins.

A training of an hour must not fail on the package that draws its report. Packages that depend on
an option (an engine's runtime, a plot) are checked where the option is read.
"""

from __future__ import annotations

import importlib.util
import sys

from edge_ad.errors import MissingExtra

# verb: extra of setup.cfg, import names
_NEEDS = {
    "train": ("train", ("torch", "matplotlib", "rich")),
    "attention": ("train", ("torch",)),
    "evaluate": ("evaluate", ("scipy", "rich")),
    "rejudge": ("rejudge", ("pyarrow",)),
    "export-triton": ("triton", ("google", "tritonclient")),
    "export": ("export", ("torch", "onnx", "onnxscript", "onnxruntime")),
    "page": ("page", ("aiohttp", "jinja2")),
    "convert": ("export", ("onnx", "onnxruntime")),
    "calibrate": (
        "calibrate",
        ("onnx", "onnxruntime", "scipy", "matplotlib", "rich"),
    ),
}


def require_packages(verb: str) -> None:
    """Raise MissingExtra for the first package of a verb that is not installed."""
    extra, packages = _NEEDS.get(verb, ("", ()))
    for package in packages:
        require_package(verb, package, extra)


def require_package(what: str, package: str, extra: str) -> None:
    """Raise MissingExtra when a package that `what` needs is not installed."""
    if not _installed(package):
        raise MissingExtra(what, package, extra)


def _installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    return importlib.util.find_spec(package) is not None
