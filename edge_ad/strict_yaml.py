"""Read and write YAML by the core schema of YAML 1.2, and refuse what readers disagree about.

`no`, `on`, `1:30`, `1_000` and dates are text, as are numbers with leading zeros; `true`, `1e3` and
`0x1f` are what they look like. Refused with line and column: duplicate keys, several documents,
tabs in indentation, tags of Python objects, aliases that contain themselves or expand without
bound, and files that are not UTF-8. Anchors, aliases and merge keys (`<<`) work.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_NULL = (re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""])
_BOOL = (re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF"))
_INT = (re.compile(r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+"), list("-+0123456789"))
_FLOAT = (
    re.compile(
        r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    ),
    list("-+.0123456789"),
)
_MERGE = (re.compile(r"<<"), ["<"])
_MOST_NODES = 200_000  # with aliases expanded; a range table has some thousands
_MOST_DIGITS = 300  # of an integer; a float has no larger ones
_PREFIX = "tag:yaml.org,2002:"
_MARK = "\ufeff"  # byte order mark
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

Place = tuple[int, int]  # line and column, counted from 1
KeyPath = tuple[str | int, ...]  # keys and positions in lists, from the root


class YamlProblem(ValueError):
    """A file is not the YAML that this module reads; the message has line and column."""


@dataclass
class PlacedYaml:
    """The content of a document as written, and where its keys and list items stand.

    `duplicates` are keys that stand twice, as sentences with their places.
    """

    content: Any
    places: dict[KeyPath, Place] = field(default_factory=dict)
    duplicates: list[tuple[Place, str]] = field(default_factory=list)


def load_yaml(path: Path) -> Any:
    """Return the content of a YAML file. Raises YamlProblem, and OSError for an unreadable file."""
    return parse_yaml(decode(path.read_bytes()))


def parse_yaml(text: str, *, as_written: bool = False) -> Any:
    """Return the content of one YAML document.

    With `as_written`, scalars other than null stay text, as on a command line. Raises YamlProblem.
    """
    return _parse(text, _AsWrittenLoader if as_written else _Loader, _refuse)[0]


def parse_placed_yaml(text: str) -> PlacedYaml:
    """Return the content of one YAML document as written, with places. Raises YamlProblem."""
    placed = PlacedYaml(None)

    def note(key: Node, problem: str) -> None:
        placed.duplicates.append((_mark(key), f"{problem}."))

    placed.content, node = _parse(text, _AsWrittenLoader, note)
    if node is not None:
        _place(node, (), placed.places)
    return placed


def dump_yaml(value: Any, *, flow: bool | None = False, width: float = 100) -> str:
    """Return `value` as YAML that readers of YAML 1.1 and 1.2 understand alike.

    `flow` None writes innermost lists and mappings on one line, true all of them.
    """
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=flow,
        width=width,
        allow_unicode=True,
    )
    return text


def decode(data: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark. Raises YamlProblem naming the place."""
    if data.startswith(_UTF16):
        raise YamlProblem("the file is UTF-16. Save it as UTF-8.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", errors="replace")
        byte = f"byte 0x{data[error.start]:02x}"
        raise YamlProblem(
            f"{_place_of(before, len(before))}: {byte} is not UTF-8. Save the file as UTF-8."
        ) from error


class _Loader(yaml.SafeLoader):
    """Constructs the core schema only."""

    def flatten_mapping(self, node: MappingNode) -> None:
        """Resolve merge keys: a mapping's own keys win, then those of the first source."""
        own = [pair for pair in node.value if pair[0].tag != _PREFIX + "merge"]
        if len(own) == len(node.value):
            return
        taken = {(key.tag, key.value) for key, _ in own}
        merged = []
        for source in _merge_sources(node):
            self.flatten_mapping(source)
            for key, value in source.value:
                if (key.tag, key.value) not in taken:
                    taken.add((key.tag, key.value))
                    merged.append((key, value))
        node.value = merged + own


class _AsWrittenLoader(_Loader):
    """Constructs text, null, lists and mappings."""


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or 1.2 would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> ScalarNode:
        """Escape text with a next-line character, which readers fold in the other styles."""
        if "\x85" in data:
            return self.represent_scalar(f"{_PREFIX}str", data, style='"')
        return super().represent_str(data)


def _parse(
    text: str, loader_type: type[_Loader], on_duplicate: Callable[[Node, str], None]
) -> tuple[Any, Node | None]:
    text = text.removeprefix(_MARK)
    if _MARK in text:
        raise YamlProblem(f"{_place_of(text, text.index(_MARK))}: a byte order mark. Remove it.")
    try:
        loader = loader_type(text)
        node = loader.get_single_node()
        if node is None:
            return None, None
        _check(node, on_duplicate)
        return loader.construct_document(node), node
    except yaml.YAMLError as error:
        raise YamlProblem(_explain(error, text)) from error
    except RecursionError as error:
        raise YamlProblem("lists and mappings are nested too deeply.") from error


def _place(node: Node, path: KeyPath, places: dict[KeyPath, Place]) -> None:
    """Note the places of all keys and list items under `node`."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            below: KeyPath = (*path, key.value)
            places[below] = _mark(key)
            _place(value, below, places)
    elif isinstance(node, SequenceNode):
        for position, item in enumerate(node.value):
            below = (*path, position)
            places[below] = _mark(item)
            _place(item, below, places)


def _mark(node: Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _refuse(key: Node, problem: str) -> None:
    raise _at(key, problem)


def _bool(loader: _Loader, node: ScalarNode) -> bool:
    if not _BOOL[0].fullmatch(node.value):
        raise _at(node, f"expected true or false, got '{node.value}'")
    return str(node.value).lower() == "true"


def _int(loader: _Loader, node: ScalarNode) -> int:
    if not _INT[0].fullmatch(node.value) or len(node.value) > _MOST_DIGITS:
        raise _at(node, f"expected a whole number, got '{node.value[:40]}'")
    return int(node.value, 0)


def _float(loader: _Loader, node: ScalarNode) -> float:
    if not _FLOAT[0].fullmatch(node.value):
        raise _at(node, f"expected a number, got '{node.value}'")
    number = float(re.sub(r"\.(?=[inIN])", "", node.value))
    if math.isinf(number) and "inf" not in node.value.lower():
        raise _at(node, f"the number {node.value[:40]} is too large")
    return number


def _unknown_tag(loader: _Loader, node: Node) -> None:
    raise _at(node, f"unknown tag '{node.tag}'. Values need no tags")


def _register() -> None:
    """Give the loaders the core schema in place of PyYAML's YAML 1.1, and the dumper both."""
    for loader in (_Loader, _AsWrittenLoader):
        loader.yaml_implicit_resolvers = {}
        loader.yaml_constructors = {}
    kinds = {"null": _NULL, "bool": _BOOL, "int": _INT, "float": _FLOAT, "merge": _MERGE}
    for name, (pattern, first) in kinds.items():
        whole = re.compile(f"(?:{pattern.pattern})\\Z")
        for resolver in (_Loader, _Dumper):
            resolver.add_implicit_resolver(_PREFIX + name, whole, first)
        if name in ("null", "merge"):
            _AsWrittenLoader.add_implicit_resolver(_PREFIX + name, whole, first)
    safe = yaml.SafeLoader
    constructors = {
        "null": safe.construct_yaml_null,
        "bool": _bool,
        "int": _int,
        "float": _float,
        "str": safe.construct_yaml_str,
        "merge": safe.construct_yaml_str,  # `<<` where it is not a key
        "seq": safe.construct_yaml_seq,
        "map": safe.construct_yaml_map,
    }
    for name, construct in constructors.items():
        _Loader.yaml_constructors[_PREFIX + name] = construct
    _Loader.yaml_constructors[None] = _unknown_tag
    _Dumper.add_representer(str, _Dumper.represent_str)
    _AsWrittenLoader.yaml_constructors = _Loader.yaml_constructors


def _check(root: Node, on_duplicate: Callable[[Node, str], None]) -> None:
    """Raise for duplicate keys, an alias inside its own anchor, and aliases without bound."""
    count, open_nodes = 0, set[int]()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, leaving = stack.pop()
        if leaving:
            open_nodes.discard(id(node))
            continue
        count += 1
        if id(node) in open_nodes:
            raise _at(node, "an alias stands inside its own anchor")
        if count > _MOST_NODES:
            raise _at(root, f"the file has more than {_MOST_NODES} values, aliases expanded")
        if isinstance(node, MappingNode):
            _check_keys(node, on_duplicate)
        if children := _children(node):
            open_nodes.add(id(node))
            stack.append((node, True))
            stack += [(child, False) for child in reversed(children)]


def _check_keys(node: MappingNode, on_duplicate: Callable[[Node, str], None]) -> None:
    """Report a key that stands twice; those that a merge key brings in may be given again."""
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, ScalarNode):
            raise _at(key, "a key must be one word or text")
        if (first := lines.get((key.tag, key.value))) is not None:
            on_duplicate(key, f"duplicate key '{key.value}', first given in line {first}")
        lines[key.tag, key.value] = key.start_mark.line + 1


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, SequenceNode) else []


def _merge_sources(node: MappingNode) -> list[MappingNode]:
    """Return the mappings that the merge key of `node` names."""
    (value,) = (value for key, value in node.value if key.tag == _PREFIX + "merge")
    sources = value.value if isinstance(value, SequenceNode) else [value]
    for source in sources:
        if not isinstance(source, MappingNode):
            raise _at(source, "a merge key (<<) takes a mapping, or a list of mappings")
    return list(sources)


def _at(node: Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _explain(error: yaml.YAMLError, text: str) -> str:
    """Return one sentence with line and column for an error of the parser."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    at = mark.index if mark is not None else getattr(error, "position", 0)
    if text[at : at + 1] == "\t":
        problem = "a tab in the indentation. Use spaces"
    if "single document" in str(error):
        problem = "a second document begins here. Keep one document a file"
    return f"{_place_of(text, at)}: {problem.rstrip('.')}."


def _place_of(text: str, index: int) -> str:
    """Return line and column of a character, counted from 1."""
    before = text[:index]
    return f"line {before.count(chr(10)) + 1}, column {index - before.rfind(chr(10))}"


_register()
