"""URIs of cameras and outlets: kinds, parts, options, and text without credentials."""

from __future__ import annotations

import os
import pkgutil
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, unquote_plus, urlsplit

from edge_ad.errors import IncompatibleError, MissingExtra, UsageError

Syntax = Literal["options", "path", "url", "url-fragment", "command", "text"]
_NETWORK = re.compile(r"(?i)(?!file:|watch:|pattern:)(?:[a-z][a-z0-9+.-]*://|gst:|exec:)")
_WORDS = re.compile(r"gst:|exec:")  # some words of which may be URIs; a URI's password has spaces
_SECRET_PATH = (
    r"(https://(?:hooks\.slack\.com|[^/\s]*\.webhook\.office\.com|discord(?:app)?\.com)/)[^#{end}]+"
)
_USER = r"(?<=//)(?!/)[^{end}]*@"  # to the last @: passwords may contain slashes and @
_SECRET = (
    r"(?i)((?:pass(?:word|wd)?|pwd?|user(?:-?name|-pw|-id)?|token|bearer|secret|sig|auth|api[-_]?key)="
    r"|--(?:pass(?:word)?|token|secret|api-?key) )[^&#{end}]+"
)
_IN_URI, _IN_WORDS = (
    tuple(re.compile(text.replace("{end}", end)) for text in (_SECRET_PATH, _USER, _SECRET))
    for end in (r"\0", r"\s")
)
_CAMERA_NAME = re.compile(r"^[^:/=]+=")
_FRAGMENT = re.compile(r"#((?:[a-z][a-z0-9_-]*=[^#&]*)(?:&[a-z][a-z0-9_-]*=[^#&]*)*)$")
LARGEST = 1e9  # seconds and milliseconds that clocks can still count
_LARGEST_WHOLE = 1 << 53  # beyond it a float leaves numbers out
_RELATIVE_PROGRAM = re.compile(r"[^/\s\"'][^\s\"']*/")  # one without a slash is on the PATH


@dataclass(frozen=True, slots=True)
class Uri:
    """A URI in parts. `shown` is its text for messages, where that has references to secrets."""

    scheme: str
    place: str
    options: Mapping[str, str] = field(default_factory=dict)
    separator: str = "://"
    shown: str = field(default="", compare=False)

    def __str__(self) -> str:
        if self.shown:
            return self.shown
        whole = self.place.startswith(f"{self.scheme}:")
        return without_credentials(
            self.place if whole else f"{self.scheme}{self.separator}{self.place}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UriKind:
    """An entry of a registry: the URIs of one kind and the function that opens them.

    `syntax` is "options" for `scheme://place?name=value`, "path" for the same without slashes
    (`scheme:place?name=value`), "url" for a URI whose query belongs to the other side, so that
    `place` is all of it, "url-fragment" for the same with our options in the fragment, which is
    never sent (`https://host/path?theirs=1#name=value`), "command" for `scheme:place#name=value`,
    and "text" for `scheme:place` taken literally.
    `opener` is "module:function", imported on first use; `extra` is the one that it needs.
    `checker` is a function, too, that reads the URI as the opener does and opens nothing. With
    `place_is_path`, `place` is a path; `path_options` are options that are paths, but for words.
    """

    schemes: tuple[str, ...]
    example: str
    description: str
    opener: str
    syntax: Syntax = "options"
    options: Mapping[str, str] = field(default_factory=dict)
    extra: str = ""
    checker: str = ""
    place_is_path: bool = False
    path_options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """What an installed package may call its entry point for this kind."""
        return self.schemes

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The beginnings of these URIs, such as `rtsp://`."""
        return tuple(scheme + _separator(self.syntax) for scheme in self.schemes)

    def parse(self, text: str) -> Uri:
        """Split a URI of this kind. Raises UsageError for an unknown option or an empty path."""
        uri = split_uri(text, self.syntax)
        check_options(uri, self.known_options)
        self.check_paths(uri)
        return uri

    @property
    def known_options(self) -> Mapping[str, str]:
        """The options with what each means: those of the kind, and of all like it."""
        return self.options

    def check_paths(self, uri: Uri) -> None:
        """Raise UsageError for an empty path, which would mean the current folder."""
        if self.place_is_path and not uri.place:
            raise UsageError(f"{uri}: the path is missing. Expected one such as {self.example}.")
        for name in self.path_options:
            if uri.options.get(name) == "":
                raise UsageError(f"{uri}: option {name} is empty. Give a path, or leave it out.")

    def in_folder(self, text: str, folder: Path) -> str:
        """Return a URI of this kind whose relative paths are relative to `folder`."""
        prefix = next(prefix for prefix in self.prefixes if text.startswith(prefix))
        rest = text.removeprefix(prefix)
        place, mark, query = self._split_options(rest)
        if self.place_is_path and place:
            place = str(folder / place)
        elif self.syntax == "command" and _RELATIVE_PROGRAM.match(place):
            place = os.path.join(folder, place)
        options = [
            f"{name}={quote(os.fsencode(folder / _decoded(value)), safe='/')}"
            if name in self.path_options and _decoded(value) not in self.path_options[name]
            else f"{name}{equals}{value}"
            for name, equals, value in (option.partition("=") for option in query.split("&"))
        ]
        return prefix + place + mark + "&".join(options)

    def _split_options(self, rest: str) -> tuple[str, str, str]:
        """Return what follows the prefix as place, mark and options."""
        if self.syntax == "text":
            return rest, "", ""
        if self.syntax in {"url-fragment", "command"}:
            options = _FRAGMENT.search(rest)
            return (rest[: options.start()], "#", options[1]) if options else (rest, "", "")
        return rest.partition("?")

    def check(self, uri: Uri) -> None:
        """Raise what the opener raises for a wrong URI, as far as `checker` knows it."""
        if self.checker:
            self.load(self.checker)(uri)

    def load_opener(self) -> Callable[..., Any]:
        """Import the opener; raises what `load` raises."""
        return self.load(self.opener)

    def load(self, name: str) -> Callable[..., Any]:
        """Import a function of this kind by its "module:function".

        Raises MissingExtra when a package of the extra is not installed, IncompatibleError when
        something that it imports does not load.
        """
        try:
            function: Callable[..., Any] = pkgutil.resolve_name(name)
        except Exception as error:  # a maker's package may raise anything on import
            if self.extra and isinstance(error, ModuleNotFoundError):
                raise MissingExtra(self.prefixes[0], str(error.name), self.extra) from error
            raise IncompatibleError(
                f"{self.prefixes[0]} needs {name}, which cannot be imported "
                f"({type(error).__name__}: {error}). Repair or update the package that fails."
            ) from error
        return function


def split_uri(text: str, syntax: Syntax) -> Uri:
    """Split a URI whose scheme is known to have this syntax.

    Raises UsageError for an option that is there twice, and for a fragment that is no options.
    """
    scheme, _, rest = text.partition(":")
    separator = _separator(syntax)
    if syntax == "text":
        return Uri(scheme, rest, separator=separator)
    if syntax == "url":
        return Uri(scheme, text)
    if syntax in {"url-fragment", "command"}:
        options = _FRAGMENT.search(text)
        query = options[1] if options else ""
        place = _FRAGMENT.sub("", text if syntax == "url-fragment" else rest)
        if syntax == "url-fragment" and "#" in place:  # it is not sent, so it would have no effect
            where = without_credentials(place.partition("#")[0])
            raise UsageError(
                f"{where}: what follows the # is not a list of options. Expected NAME=VALUE, more "
                "of them with & between, names in small letters and a # in a value as %23."
            )
    else:
        place, _, query = rest.removeprefix("//").partition("?")
    pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    uri = Uri(scheme, place, dict(pairs), separator)
    if len(uri.options) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{uri}: option {twice} is there twice. Leave one out.")
    return uri


def _separator(syntax: Syntax) -> str:
    return ":" if syntax in {"path", "text", "command"} else "://"


def unknown_scheme(noun: str, scheme: str, prefixes: Collection[str], hint: str = "") -> UsageError:
    """Return the error for a scheme that no entry has; `hint` is used when none is similar."""
    import difflib

    schemes = {prefix.rstrip(":/"): prefix for prefix in prefixes}
    near = difflib.get_close_matches(scheme, schemes, n=1)
    advice = f" Did you mean {schemes[near[0]]}?" if near else f" {hint}".rstrip()
    return UsageError(
        f"unknown {noun} scheme '{scheme}:'.{advice} The known ones are: {', '.join(prefixes)}."
    )


def _decoded(value: str) -> str:
    """Decode an option's value; a path need not be UTF-8."""
    return unquote_plus(value, errors="surrogateescape")


def without_credentials(text: str) -> str:
    """Return a URI, NAME=URI or pipeline without user names and passwords, fit for logs."""
    return _with_replaced_credentials(text, "", _removed)


def credentials_in(text: str) -> list[str]:
    """Return the values that `without_credentials` hides in a URI, but for user and password."""
    path, _, secret = _patterns(text)
    return [match[0].removeprefix(match[1]) for p in (path, secret) for match in p.finditer(text)]


def with_hidden_credentials(text: str) -> str:
    """Return a URI, or NAME=URI, with `***` for its credentials; references to secrets stay."""
    return _with_replaced_credentials(text, "***@", _hidden)


def _with_replaced_credentials(
    text: str, user: str, expand: Callable[[str, re.Match[str]], str]
) -> str:
    """Replace credentials by what `expand` makes of a template and a match; `user` is for users."""
    uri = _CAMERA_NAME.sub("", text)
    if not _NETWORK.match(uri):
        return text
    for pattern, kept in zip(_patterns(uri), (r"\1***", user, r"\1***"), strict=True):
        text = pattern.sub(partial(expand, kept), text)
    return text


def _patterns(text: str) -> tuple[re.Pattern[str], ...]:
    """Return what finds secret paths, users with passwords, and secret options."""
    return _IN_WORDS if _WORDS.match(text) else _IN_URI


def _removed(template: str, match: re.Match[str]) -> str:
    return match.expand(template)


def _hidden(template: str, match: re.Match[str]) -> str:
    return match[0] if "${" in match[0] else match.expand(template)


def check_options(uri: Uri, known: Collection[str]) -> None:
    """Raise UsageError for an option that `known` does not contain."""
    import difflib

    for name in uri.options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"Did you mean '{near[0]}'?" if near else f"It has: {', '.join(known) or 'none'}."
            )
            raise UsageError(f"{uri} has no option '{name}'. {hint}")


def host_and_port(uri: Uri, host: str, port: int) -> tuple[str, int]:
    """Return host and port of `scheme://HOST:PORT`, with defaults. Raises UsageError."""
    try:
        parts = urlsplit(f"//{uri.place}")
        given = parts.port
    except ValueError as error:
        raise UsageError(f"{uri}: expected HOST:PORT with a port of 1 to 65535.") from error
    if given == 0 or "@" in parts.netloc:
        raise UsageError(f"{uri}: expected HOST:PORT with a port of 1 to 65535.")
    if rest := parts.path + (f"#{parts.fragment}" if "#" in uri.place else ""):
        raise UsageError(
            f"{uri}: expected HOST:PORT and nothing after it, got '{rest}'. Options follow a ?."
        )
    return parts.hostname or host, given or port


def number(
    uri: Uri, name: str, default: float, *, least: float = 0.0, most: float = LARGEST
) -> float:
    """Return a numeric option. Raises UsageError for other text or a value out of range."""
    text = uri.options.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"-?\d+(\.\d+)?", text) or float(text) < least:
        raise UsageError(
            f"{uri}: option {name} must be a number of at least {least:g}, got '{text}'."
        )
    if float(text) > most:
        raise UsageError(f"{uri}: option {name} must be at most {most:g}, got '{text[:40]}'.")
    return float(text)


def whole_number(
    uri: Uri, name: str, default: int, *, least: int = 0, most: int = _LARGEST_WHOLE
) -> int:
    """Return an integer option. Raises UsageError like `number`."""
    value = number(uri, name, default, least=least, most=most)
    if value != int(value):
        raise UsageError(f"{uri}: option {name} must be a whole number, got '{value:g}'.")
    return int(value)


def one_of(uri: Uri, name: str, values: Sequence[str], default: str) -> str:
    """Return an option that has one of a few values. Raises UsageError for any other.

    The default need not be one of them.
    """
    value = uri.options.get(name, default)
    if name in uri.options and value not in values:
        raise UsageError(f"{uri}: option {name} must be {' or '.join(values)}, got '{value}'.")
    return value
