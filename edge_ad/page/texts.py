"""The words of the page, one file for each language in `text/`.

A translation is checked against the English file when it is read. A text that is missing there, or
whose `{places}` differ, is shown in English; a file that cannot be read at all is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from string import Formatter
from typing import Any

from edge_ad.strict_yaml import parse_yaml

FOLDER = resources.files("edge_ad.page") / "text"
DEFAULT = "en"
_FILE = re.compile(r"([a-z]{2,3})\.yaml")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Texts:
    """The words of one language by key; `problem` says which of them are the default's, and why."""

    language: str
    words: Mapping[str, str]
    problem: str = ""

    def __call__(self, key: str, **values: object) -> str:
        """Return a text with `{name}` replaced by values. Raises KeyError for an unknown key."""
        return self.words[key].format(**values) if values else self.words[key]

    def word(self, group: str, name: str) -> str:
        """Return the text `group_name`, or the name itself where there is none."""
        return self.words.get(f"{group}_{name}", name)


def languages() -> tuple[str, ...]:
    """Return the languages whose files can be read, the default first."""
    names = {match[1] for entry in FOLDER.iterdir() if (match := _FILE.fullmatch(entry.name))}
    others = (read_texts(name) for name in sorted(names - {DEFAULT}))
    return (DEFAULT, *(texts.language for texts in others if texts.words))


def text_problems() -> list[str]:
    """Return what is wrong with the translations, a sentence for each file."""
    names = sorted(entry.name for entry in FOLDER.iterdir() if _FILE.fullmatch(entry.name))
    return list(filter(None, (read_texts(name.removesuffix(".yaml")).problem for name in names)))


@cache
def read_texts(language: str) -> Texts:
    """Return the words of a language: none when its file cannot be read, as `problem` says."""
    path = FOLDER / f"{language}.yaml"
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("expected lines `key: text`")
    except (OSError, ValueError) as error:
        return Texts(language, {}, f"{path} is left out: {error}")
    if language == DEFAULT:
        return Texts(language, content)
    return _completed(language, content, read_texts(DEFAULT).words, str(path))


def _completed(
    language: str, content: Mapping[str, Any], default: Mapping[str, str], label: str
) -> Texts:
    """Return a translation, with the default's text for each that does not fit."""
    unfit = dict(_unfit(content, default))
    words = {key: text if key in unfit else content[key] for key, text in default.items()}
    if not unfit:
        return Texts(language, words)
    shown = "; ".join(f"{key} {why}" for key, why in list(unfit.items())[:_SHOWN])
    more = f"; and {len(unfit) - _SHOWN} more" if len(unfit) > _SHOWN else ""
    return Texts(language, words, f"{label}, in English or not used: {shown}{more}")


def _unfit(content: Mapping[str, Any], default: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the keys of texts that cannot be shown, with the reason."""
    for key, text in default.items():
        given = content.get(key)
        if not isinstance(given, str) or not given.strip():
            yield key, "is missing" if key not in content else "is not a text"
        elif _places(given) != _places(text):
            yield key, f"needs {_named(_places(text))}, has {_named(_places(given))}"
    yield from ((str(key), "is not a key") for key in content if key not in default)


def _places(text: str) -> list[str] | None:
    """Return the `{places}` of a text, sorted, None when its braces do not fit."""
    try:
        found = list(Formatter().parse(text))
    except ValueError:
        return None
    fields = [part for part in found if part[1] is not None]
    if any(format_ or conversion for _, _, format_, conversion in fields):
        return None
    return sorted({str(name) for _, name, _, _ in fields})


def _named(places: list[str] | None) -> str:
    if places is None:
        return "braces that do not fit"
    return " ".join(f"{{{name}}}" for name in places) or "no {place}"


def best_language(accepted: str, known: Iterable[str]) -> str:
    """Return the language that a browser prefers (the header Accept-Language) among known ones."""
    weighted = []
    for entry in accepted[:500].split(","):
        name, _, parameters = entry.strip().partition(";")
        weighted.append((_weight(parameters), name.partition("-")[0].lower()))
    for weight, name in sorted(weighted, key=lambda one: -one[0]):
        if weight > 0 and name in known:
            return name
    return DEFAULT


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    try:
        return float(value) if name == "q" else 1.0
    except ValueError:
        return 0.0
