"""Mutations of bytes, lines and nested values, all drawn from one random generator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

Rng = np.random.Generator
Bytes = Callable[[bytes, Rng], bytes]
_T = TypeVar("_T")
_HEADER = 64
_WORDS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\x01")

# scalars that readers, validators and arithmetic stumble over
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**200, -(2**63), 0.0, -0.0, 1e-320, 1e308, 1.5,
    float("nan"), float("inf"), float("-inf"), "", " ", "nan", "inf", "0x10", "010", "1:30", "no",
    "1e5", "\0", "\ud7ff", "../..", "/dev/null", "a" * 5000, [], [[]], [0] * 5, {}, {"": 0},
)  # fmt: skip
_PIECES = (
    "\t", "\0", "\ufeff", "\u2028", "&a [*a]", "*a", "<<: *a", "!!python/object:os.system x",
    "---", "...", "{", "[", "]", ": :", "? a", "| ", "> ", "'", '"', "#", "%TAG ! x", "\r", "\x85",
    "- - -", "1_000", ".nan", "~", "é", "2001-01-01", "\\x", "engine: a", "0b1", "😀",
)  # fmt: skip


def pick(rng: Rng, items: Sequence[_T]) -> _T:
    """Return one of the items."""
    return items[int(rng.integers(len(items)))]


def mutate(data: bytes, rng: Rng, other: bytes = b"") -> bytes:
    """Return bytes with one to three mutations; one in twenty stays as it is."""
    if rng.random() < 0.05:
        return data
    for _ in range(int(rng.integers(1, 4))):
        data = pick(rng, _MUTATIONS)(data, rng)
    if other and rng.random() < 0.05:
        data = data[: len(data) // 2] + other[len(other) // 2 :]
    return data


def mutate_text(text: str, rng: Rng) -> bytes:
    """Return the bytes of a text with mutated lines, or mutated as bytes."""
    if rng.random() < 0.2:
        return mutate(text.encode(), rng)
    lines = text.splitlines()
    for _ in range(int(rng.integers(1, 4))):
        if lines:
            pick(rng, _LINES)(lines, rng)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def mutate_value(value: Any, rng: Rng) -> Any:
    """Return a copy of nested lists and mappings in which one to two places are changed."""
    value = copy.deepcopy(value)
    for _ in range(int(rng.integers(1, 3))):
        holder, key = pick(rng, _places(value))
        change = rng.random()
        if change < 0.6:
            holder[key] = copy.deepcopy(pick(rng, VALUES))
        elif change < 0.75:
            del holder[key]
        elif change < 0.85 and isinstance(holder, dict):
            holder["added"] = pick(rng, VALUES)
        elif isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
            holder[key] = holder[key] * -1
        else:
            holder[key] = [holder[key]]
        if not value:
            break
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    places = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list) and value[key]:
            places += _places(value[key])
    return places


def _flip(data: bytes, rng: Rng) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(0, max(1, len(data)), int(rng.integers(1, 17))):
        if place < len(changed):
            changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _header(data: bytes, rng: Rng) -> bytes:
    place = int(rng.integers(0, _HEADER))
    return data[:place] + rng.bytes(int(rng.integers(1, 5))) + data[place + 2 :]


def _word(data: bytes, rng: Rng) -> bytes:
    """Overwrite a length, an offset or a number of four bytes with an extreme one."""
    end = _HEADER if rng.random() < 0.5 else len(data)
    place = int(rng.integers(0, max(1, end)))
    return data[:place] + pick(rng, _WORDS) + data[place + 4 :]


def _truncate(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(0, len(data) + 1))]


def _slice(data: bytes, rng: Rng) -> tuple[int, int]:
    start = int(rng.integers(0, len(data) + 1))
    return start, min(len(data), start + int(rng.integers(1, max(2, len(data) // 4))))


def _cut(data: bytes, rng: Rng) -> bytes:
    start, end = _slice(data, rng)
    return data[:start] + data[end:]


def _double(data: bytes, rng: Rng) -> bytes:
    start, end = _slice(data, rng)
    return data[:end] + data[start:]


def _blank(data: bytes, rng: Rng) -> bytes:
    start, end = _slice(data, rng)
    return data[:start] + bytes(end - start) + data[end:]


def _noise(data: bytes, rng: Rng) -> bytes:
    start, end = _slice(data, rng)
    return data[:start] + rng.bytes(end - start) + data[end:]


def _append(data: bytes, rng: Rng) -> bytes:
    return data + (rng.bytes(20) if rng.random() < 0.5 else bytes(512))


_MUTATIONS: tuple[Bytes, ...] = (
    _flip, _header, _word, _truncate, _cut, _double, _blank, _noise, _append
)  # fmt: skip


def _insert(lines: list[str], rng: Rng) -> None:
    row = int(rng.integers(len(lines)))
    column = int(rng.integers(0, len(lines[row]) + 1))
    lines[row] = lines[row][:column] + pick(rng, _PIECES) + lines[row][column:]


def _exchange_value(lines: list[str], rng: Rng) -> None:
    row = int(rng.integers(len(lines)))
    key, colon, _ = lines[row].partition(":")
    lines[row] = f"{key}{colon} {pick(rng, (*VALUES, *_PIECES))}"


def _repeat(lines: list[str], rng: Rng) -> None:
    lines.insert(int(rng.integers(len(lines))), pick(rng, lines))


def _drop(lines: list[str], rng: Rng) -> None:
    del lines[int(rng.integers(len(lines)))]


def _indent(lines: list[str], rng: Rng) -> None:
    row = int(rng.integers(len(lines)))
    lines[row] = " " * int(rng.integers(1, 5)) + lines[row]


_LINES = (_insert, _exchange_value, _exchange_value, _repeat, _drop, _indent)
