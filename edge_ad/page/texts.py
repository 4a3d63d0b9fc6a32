"""The words of the page, one file for each language in `text/`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from edge_ad.strict_yaml import parse_yaml

_FOLDER = resources.files("edge_ad.page") / "text"
DEFAULT = "en"


@dataclass(frozen=True, slots=True)
class Texts:
    """The words of one language by key."""

    language: str
    words: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """Return a text with `{name}` replaced by values. Raises KeyError for an unknown key."""
        return self.words[key].format(**values) if values else self.words[key]

    def word(self, group: str, name: str) -> str:
        """Return the text `group_name`, or the name itself where there is none."""
        return self.words.get(f"{group}_{name}", name)


def languages() -> tuple[str, ...]:
    """Return the languages there are, the default first."""
    names = {entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir()}
    return (DEFAULT, *sorted(names - {DEFAULT}))


@cache
def read_texts(language: str) -> Texts:
    """Return the words of a language."""
    words = parse_yaml((_FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return Texts(language, {key: str(value) for key, value in words.items()})


def best_language(accepted: str, known: Iterable[str]) -> str:
    """Return the language that a browser prefers (the header Accept-Language) among known ones."""
    wishes = []
    for entry in accepted[:500].split(","):
        name, _, parameters = entry.strip().partition(";")
        wishes.append((_weight(parameters), name.partition("-")[0].lower()))
    for weight, name in sorted(wishes, key=lambda wish: -wish[0]):
        if weight > 0 and name in known:
            return name
    return DEFAULT


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    try:
        return float(value) if name == "q" else 1.0
    except ValueError:
        return 0.0
