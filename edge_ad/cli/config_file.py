"""Read a configuration file: a verb's options as YAML keys, and the cameras of a line.

All problems of a file are reported at once, each with line and column. Relative paths are relative
to the file's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from edge_ad.cli.values import ClickValue, to_click
from edge_ad.cli.verbs import unknown
from edge_ad.errors import InvalidConfig, UsageError
from edge_ad.strict_yaml import KeyPath, Place, PlacedYaml, YamlProblem, decode, parse_placed_yaml

CAMERA_LIST = "cameras"  # the key of a line's cameras


@dataclass(frozen=True)
class FileProblem:
    """One thing that is wrong with a file, and its line and column where they are known."""

    file: Path
    place: Place | None
    message: str

    def __str__(self) -> str:
        return place_text(self.file, self.place) + self.message

    def as_json(self) -> dict[str, object]:
        """Return the record of an error in JSON."""
        record: dict[str, object] = {"message": self.message, "file": str(self.file)}
        if self.place is not None:
            record["line"], record["column"] = self.place
        return record


@dataclass(frozen=True)
class CameraEntry:
    """One camera of a line file: its values, converted as those of options, by key."""

    file: Path
    place: Place | None
    values: Mapping[str, Any]
    places: Mapping[str, str]  # of its keys

    def problem(self, message: str) -> FileProblem:
        """Return a problem of this camera."""
        return FileProblem(self.file, self.place, message)


@dataclass(frozen=True)
class ConfigFile:
    """What a file sets: options as click expects them, by key, and cameras if it lists them.

    What has `problems` is left out.
    """

    values: Mapping[str, ClickValue]
    cameras: list[CameraEntry] | None
    problems: list[FileProblem]


def raise_problems(problems: Sequence[FileProblem]) -> None:
    """Raise InvalidConfig when there are problems."""
    if problems:
        facts = [problem.as_json() for problem in problems]
        raise InvalidConfig([str(problem) for problem in problems], facts)


def place_text(file: Path, place: Place | None) -> str:
    """Return the beginning of a message about a place in a file."""
    return f"{file}: line {place[0]}, column {place[1]}: " if place else f"{file}: "


def read_config_file(
    path: Path,
    known: Mapping[str, click.Parameter],
    ctx: click.Context,
    camera_keys: Mapping[str, click.Parameter],
) -> ConfigFile:
    """Return what a file sets, with every value checked.

    `known` are the options by key. `camera_keys` are the keys of a camera in the list `cameras`,
    with the option that each is; none for verbs without such a list. Raises UsageError for a file
    that cannot be read or is not YAML; other problems are in the result.
    """
    placed = load_keys(path)
    reader = _Reader(path, placed, known, ctx)
    content = dict(placed.content)
    listed = content.pop(CAMERA_LIST, None) if camera_keys else None
    values = dict(reader.options(content, camera_keys))
    cameras = None if listed is None else reader.cameras(listed, camera_keys)
    if cameras is not None and values.get("camera", (None, None))[0]:
        reader.problem(("camera",), f"camera and {CAMERA_LIST} exclude each other. Keep one.")
    return ConfigFile(
        {key: value for key, (value, _) in values.items()}, cameras, reader.sorted_problems()
    )


def load_keys(path: Path) -> PlacedYaml:
    """Return the keys of a file as written. Raises UsageError for an invalid one."""
    try:
        placed = parse_placed_yaml(decode(path.read_bytes()))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except YamlProblem as error:
        raise UsageError(f"{path}: not valid YAML: {error}") from error
    if placed.content is None:
        placed.content = {}
    if not isinstance(placed.content, dict):
        kind = "list" if isinstance(placed.content, list) else "single value"
        raise UsageError(f"{path}: expected 'key: value' lines, got a {kind}.")
    return placed


@dataclass
class _Reader:
    """Reads the parts of a file and collects their problems."""

    path: Path
    placed: PlacedYaml
    known: Mapping[str, click.Parameter]
    ctx: click.Context
    problems: list[tuple[Place | None, str]] = field(default_factory=list)

    def options(
        self, content: Mapping[Any, Any], more: Mapping[str, click.Parameter]
    ) -> Iterator[tuple[str, tuple[ClickValue, Any]]]:
        """Yield the options at the top: as click expects them, and converted."""
        known = [*self.known, CAMERA_LIST] if more else list(self.known)
        for key, written, value in self._keys(content, (), known):
            read = self._value(self.known[key], key, value, (written,))
            if read is not None:
                yield key, read

    def cameras(self, listed: Any, keys: Mapping[str, click.Parameter]) -> list[CameraEntry]:
        """Return the cameras of the list."""
        if not isinstance(listed, list) or not listed:
            self.problem((CAMERA_LIST,), f"{CAMERA_LIST} expects a list with a camera in it.")
            return []
        cameras = [
            self._camera(item, (CAMERA_LIST, position), keys)
            for position, item in enumerate(listed)
        ]
        return [
            replace(camera, values=self._checked_name(position, cameras))
            for position, camera in enumerate(cameras)
        ]

    def problem(self, at: KeyPath, message: str) -> None:
        """Note a problem at a key or list item."""
        self.problems.append((self.placed.places.get(at), message))

    def sorted_problems(self) -> list[FileProblem]:
        """Return the problems in the order of the file."""
        problems = [*self.problems, *self.placed.duplicates]
        problems.sort(key=lambda problem: problem[0] or (0, 0))
        return [FileProblem(self.path, place, message) for place, message in problems]

    def _camera(self, item: Any, at: KeyPath, keys: Mapping[str, click.Parameter]) -> CameraEntry:
        values: dict[str, Any] = {}
        places: dict[str, str] = {}
        if not isinstance(item, (str, dict)):
            self.problem(at, f"a camera in {CAMERA_LIST} is a mapping with source, or NAME=URI.")
        elif isinstance(item, str):
            values |= self._short_form(item, at)
        else:
            for key, written, value in self._keys(item, at, list(keys)):
                read = self._value(keys[key], key, value, (*at, written))
                if read is not None:
                    values[key] = read[1]
                places[key] = self._where(self.placed.places.get((*at, written)))
        if isinstance(item, (str, dict)) and _lacks_source(item):
            values.pop("source", None)
            self.problem(at, "this camera has no source. Give one, like source: rtsp://HOST/PATH")
        return CameraEntry(self.path, self.placed.places.get(at), values, places)

    def _checked_name(self, position: int, cameras: list[CameraEntry]) -> Mapping[str, Any]:
        """Return a camera's values, without a name that is invalid or that one before it has."""
        from edge_ad.source.named import check_name

        values = dict(cameras[position].values)
        name = values.get("name")
        if name is None:
            return values
        at: KeyPath = (CAMERA_LIST, position, "name")
        at = at if at in self.placed.places else at[:2]
        if name in [camera.values.get("name") for camera in cameras[:position]]:
            self.problem(at, f"a camera before is called '{name}' too. Names must differ.")
            del values["name"]
        else:
            try:
                check_name(name)
            except UsageError as error:
                self.problem(at, str(error))
                del values["name"]
        return values

    def _short_form(self, text: str, at: KeyPath) -> dict[str, Any]:
        from edge_ad.source.named import split_name

        try:
            named = split_name(_relative("camera", text, self.path.parent))
        except UsageError as error:
            self.problem(at, str(error))
            return {}
        return {"source": named.uri} | ({"name": named.name} if named.name else {})

    def _keys(
        self, content: Mapping[Any, Any], at: KeyPath, known: list[str]
    ) -> Iterator[tuple[str, str, Any]]:
        """Yield the known keys with underscores and as written, and their values."""
        seen: dict[str, str] = {}
        for written, value in content.items():
            key = str(written).replace("-", "_")
            if key not in known and key in self.known:
                self.problem((*at, written), f"{key} is for the whole line. Write it at the top.")
            elif key not in known:
                self.problem((*at, written), unknown("key", key, known))
            elif key in seen:
                both = f"'{seen[key]}' and '{written}' are the same key. Keep one."
                self.problem((*at, written), both)
            else:
                seen[key] = str(written)
                yield key, written, value

    def _value(
        self, param: click.Parameter, key: str, value: Any, at: KeyPath
    ) -> tuple[ClickValue, Any] | None:
        """Return a value as click expects it and converted, None for an empty or wrong one."""
        try:
            given = in_folder(param, key, to_click(param, value, key), self.path.parent)
            return None if given is None else (given, param.type_cast_value(self.ctx, given))
        except UsageError as error:
            self.problem(at, str(error))
        except click.BadParameter as error:
            self.problem(at, f"{key}: {error.message}")
        return None

    def _where(self, place: Place | None) -> str:
        return place_text(self.path, place)


def _lacks_source(item: str | dict[Any, Any]) -> bool:
    """Return whether a camera's source is missing or left empty; 0 is a camera's number."""
    source = item if isinstance(item, str) else item.get("source")
    return source is None or not str(source).strip()


def in_folder(param: click.Parameter, key: str, value: ClickValue, folder: Path) -> ClickValue:
    """Return a value whose relative paths are relative to the folder."""
    if not (isinstance(param.type, click.Path) or key in ("camera", "source", "outlet")):
        return value
    if isinstance(value, list):
        return [_relative(key, item, folder) for item in value]
    return _relative(key, value, folder) if isinstance(value, str) else value


def _relative(key: str, text: str, folder: Path) -> str:
    """Return a path or URI with its relative paths relative to the folder."""
    if key == "engine" and text.startswith("triton://"):
        return text
    if key == "outlet":
        from edge_ad.outlet.registry import outlet_in_folder

        return outlet_in_folder(text, folder.resolve())  # the outbox knows outlets by their URI
    if key == "source":
        from edge_ad.source.open import camera_in_folder

        return camera_in_folder(text, folder)
    if key == "camera":
        from edge_ad.source.named import named_in_folder

        return named_in_folder(text, folder)
    return str(folder / text)
