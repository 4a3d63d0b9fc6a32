"""Line files of bundles: what a bundle says for all devices, and what each device adds.

The bundle's `line.yaml` names engines of the bundle; its other relative paths are relative to the
folder that it is installed in, as those of the device's `site.yaml` are. `run.yaml` is both in one:
what `edge-ad run -c` reads.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.cli.config_file import (
    CAMERA_LIST,
    in_folder,
    load_keys,
    raise_problems,
    read_config_file,
)
from edge_ad.cli.settings import settable
from edge_ad.errors import EdgeAdError, IncompatibleError, UsageError
from edge_ad.secret import SECRET

if TYPE_CHECKING:
    from edge_ad.cli.line_file import LineCommand

Keys = dict[str, Any]

_ADDRESSES = ("source", "camera", "outlet")
_ANY_CAMERA = "pattern://"  # stands for cameras that are not there where a bundle is made
_NO_SOURCE = "this camera has no source"
_CHECK_S = 600.0
_REFERENCE = re.compile(r"\$\{[^}]*\}")
_NO_PASSWORD = re.compile(r"//[^/:@\s]*:?@")  # a user's name alone


def read_line_file(path: Path) -> Keys:
    """Return the keys of a line file or site file, with underscores, every value checked.

    Cameras need no source here, but a name. Raises InvalidConfig with all problems.
    """
    command = _run()
    with click.Context(command, info_name="run") as ctx:
        file = read_config_file(path, settable(command), ctx, command.camera_keys)
    raise_problems([one for one in file.problems if not one.message.startswith(_NO_SOURCE)])
    keys = _with_underscores(load_keys(path).content)
    if CAMERA_LIST in keys:
        keys[CAMERA_LIST] = [_camera(path, entry) for entry in keys[CAMERA_LIST]]
    return keys


def bundled_line(path: Path) -> tuple[Keys, dict[str, Path]]:
    """Return a line file as it stands in a bundle, and the files that go with it by name there.

    Raises UsageError for engines that are not there and for passwords in addresses.
    """
    keys, files = read_line_file(path), dict[str, Path]()
    for mapping in _mappings(keys):
        for address in _addresses(mapping):
            _check_no_password(path, address)
        if mapping.get("engine"):
            mapping["engine"] = _add_engine(path.parent / mapping["engine"], files)
    if not files:
        raise UsageError(f"{path} names no engine, so there is nothing to bundle.")
    return keys, files


def device_line(
    bundled: Keys, site: Keys, home: Path, version: Path, engines: Mapping[str, str]
) -> Keys:
    """Return the line file of a device. What the site says wins; cameras are matched by name.

    `home` is the folder of the device, `version` that of the unpacked bundle, `engines` what takes
    the place of its engines. Raises UsageError for a camera that the bundle does not have, and for
    addresses without the names that the bundle knows.
    """
    line = _placed(bundled, home)
    for given, mapping in zip(_mappings(bundled), _mappings(line), strict=True):
        if given.get("engine"):
            name = str(given["engine"])
            mapping["engine"] = str(version / engines.get(name, name))
    here = _placed(site, home)
    cameras = here.pop(CAMERA_LIST, None)
    if "camera" in here and CAMERA_LIST in line:
        names = ", ".join(camera["name"] for camera in line[CAMERA_LIST])
        raise UsageError(
            f"site.yaml has camera, and the bundle has {CAMERA_LIST} with keys of their own: "
            f"{names}. Write under {CAMERA_LIST}: {{name: NAME, source: URI}}"
        )
    if cameras is not None:
        line.pop("camera", None)
        line[CAMERA_LIST] = _merged(line.get(CAMERA_LIST), cameras)
    return {"output": str(home / "output")} | line | here


def check_sources(line: Keys, site_file: Path) -> None:
    """Raise UsageError for cameras whose address neither the bundle nor the site says."""
    absent = [camera["name"] for camera in line.get(CAMERA_LIST, ()) if not camera.get("source")]
    if not line.get(CAMERA_LIST) and not line.get("camera"):
        raise UsageError(f"the line has no camera. Write camera: URI into {site_file}")
    if absent:
        raise UsageError(
            f"camera {', '.join(absent)}: this device does not say where it is. Write into "
            f"{site_file}, under cameras: {{name: {absent[0]}, source: URI}}"
        )


def for_any_machine(line: Keys) -> Keys:
    """Return a line file to check anywhere: with test patterns and without a device's secrets."""
    return _without_secrets(_with_any_camera(line))


def _without_secrets(line: Keys) -> Keys:
    """Return a line file with a word for each secret in an outlet's URI.

    An outlet that is a secret as a whole is left out.
    """
    if "outlet" not in line:
        return line
    given = line["outlet"]
    outlets = [given] if isinstance(given, str) else given
    return line | {
        "outlet": [SECRET.sub("secret", uri) for uri in outlets if not SECRET.fullmatch(uri)]
    }


def _with_any_camera(line: Keys) -> Keys:
    if CAMERA_LIST in line:
        cameras = [camera | {"source": _ANY_CAMERA} for camera in line[CAMERA_LIST]]
        return line | {CAMERA_LIST: cameras}
    from edge_ad.source.named import split_name

    given = line.get("camera") or ["line="]
    names = [split_name(str(uri)).name for uri in ([given] if isinstance(given, str) else given)]
    return line | {"camera": [f"{name or 'line'}={_ANY_CAMERA}" for name in names]}


def check_line_file(line: Keys, label: str) -> dict[str, Any]:
    """Return what `edge-ad run --check` says of a line, in a process without this one's variables.

    The folder that the running line writes to is left alone. Raises UsageError or
    IncompatibleError with all problems, beginning with `label`.
    """
    from edge_ad.strict_yaml import dump_yaml

    with tempfile.TemporaryDirectory(prefix="edge-ad-") as name:
        file = Path(name) / "line.yaml"
        file.write_text(dump_yaml(line), encoding="utf-8")
        command = [sys.executable, "-m", "edge_ad", "run", "-c", str(file), "--check", "--json"]
        kept = {key: value for key, value in os.environ.items() if "EDGE_AD_RUN" not in key}
        try:
            done = subprocess.run(
                [*command, "-o", str(Path(name) / "output")],
                capture_output=True, text=True, env=kept, check=False, timeout=_CHECK_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise EdgeAdError(
                f"{label}: the line cannot be checked: no answer within {_CHECK_S:g} s."
            ) from None
        return _answer(done, file, label)


def _answer(done: subprocess.CompletedProcess[str], file: Path, label: str) -> dict[str, Any]:
    try:
        record = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        ended = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise EdgeAdError(f"{label}: the line cannot be checked: {ended[0]}") from None
    if done.returncode == 0:
        return dict(record)
    problem = str(record["message"]).replace(str(file), label)
    kind = {2: UsageError, 3: IncompatibleError}.get(done.returncode, EdgeAdError)
    raise kind(f"the line cannot start: {problem}")


def _run() -> LineCommand:
    from edge_ad.cli.line_file import LineCommand
    from edge_ad.cli.run import command

    assert isinstance(command, LineCommand)
    return command


def _with_underscores(content: Mapping[Any, Any]) -> Keys:
    return {str(key).replace("-", "_"): value for key, value in content.items()}


def _camera(path: Path, entry: Any) -> Keys:
    from edge_ad.source.named import split_name

    if isinstance(entry, str):
        named = split_name(entry)
        entry = {"name": named.name, "source": named.uri}
    keys = _with_underscores(entry)
    if not keys.get("name"):
        raise UsageError(
            f"{path}: a camera has no name. Give each one, by which a device's site.yaml says "
            "where it is."
        )
    return keys


def _mappings(line: Keys) -> Iterator[Keys]:
    yield line
    yield from line.get(CAMERA_LIST, ())


def _addresses(mapping: Keys) -> Iterator[str]:
    for key in _ADDRESSES:
        given = mapping.get(key) or ()
        yield from map(str, [given] if isinstance(given, str) else given)


def _check_no_password(path: Path, address: str) -> None:
    from edge_ad.uri import without_credentials

    rest = _NO_PASSWORD.sub("//", _REFERENCE.sub("", address))  # what is no reference
    if without_credentials(rest) != rest:
        raise UsageError(
            f"{path}: {without_credentials(address)} has a password, which a bundle would carry to "
            "every device. Write a reference in its place, like ${ENV:CAMERA_PASSWORD}, or keep "
            "the address in site.yaml."
        )


def _add_engine(engine: Path, files: dict[str, Path]) -> str:
    """Add an engine with its sidecar, and return its name in the bundle."""
    from edge_ad.sidecar import sidecar_path

    if not engine.is_file():
        raise UsageError(f"{engine}: there is no such engine.")
    for name, path in files.items():
        if path.resolve() == engine.resolve():
            return name
    name, number = engine.name, 1
    while name.lower() in {taken.lower() for taken in files}:
        number += 1
        name = f"{engine.stem}-{number}{engine.suffix}"
    files[name] = engine
    if sidecar_path(engine).is_file():
        files[f"{name}.yaml"] = sidecar_path(engine)
    return name


def _placed(keys: Keys, folder: Path) -> Keys:
    """Return keys whose relative paths are relative to `folder`."""
    command = _run()
    top = {key: _in(settable(command), key, value, folder) for key, value in keys.items()}
    if CAMERA_LIST in keys:
        top[CAMERA_LIST] = [
            {key: _in(command.camera_keys, key, value, folder) for key, value in camera.items()}
            for camera in keys[CAMERA_LIST]
        ]
    return top


def _in(params: Mapping[str, click.Parameter], key: str, value: Any, folder: Path) -> Any:
    param = params.get(key)
    return value if param is None or value is None else in_folder(param, key, value, folder)


def _merged(bundled: list[Keys] | None, site: list[Keys]) -> list[Keys]:
    if bundled is None:
        return site
    names = [camera["name"] for camera in bundled]
    for camera in site:
        if camera["name"] not in names:
            raise UsageError(
                f"site.yaml has a camera {camera['name']}, which the bundle does not have. It has: "
                f"{', '.join(names)}."
            )
    own = {camera["name"]: camera for camera in site}
    return [camera | own.get(camera["name"], {}) for camera in bundled]
