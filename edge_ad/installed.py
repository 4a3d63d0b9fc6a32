"""Kinds of cameras and outlets that other installed packages bring.

Such a package has an entry point in the group `edge_ad.cameras` or `edge_ad.outlets`: its name is
the scheme, its object the same entry that a registry of this package would have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from edge_ad.errors import IncompatibleError
from edge_ad.uri import UriKind

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

Kind = TypeVar("Kind", bound=UriKind)


def installed_schemes(group: str) -> list[str]:
    """Return the schemes that installed packages add to a group, without importing the packages."""
    return sorted(_entry_points(group).names)


def installed_kind(group: str, scheme: str, kind_type: type[Kind]) -> Kind | None:
    """Import the entry of a scheme, None when no package has one.

    Raises IncompatibleError when the package cannot be imported or has something else there.
    """
    found = _entry_points(group)
    return _load(found[scheme], kind_type) if scheme in found.names else None


def _entry_points(group: str) -> EntryPoints:
    from importlib.metadata import entry_points  # slow, and needed for an unknown scheme alone

    return entry_points(group=group)


def _load(point: EntryPoint, kind_type: type[Kind]) -> Kind:
    try:
        kind = point.load()
    except Exception as error:  # a foreign module may raise anything on import
        raise IncompatibleError(
            f"{point.name}:// is of {point.value}, which cannot be imported "
            f"({type(error).__name__}: {error}). Update or uninstall the package that provides it."
        ) from error
    if not isinstance(kind, kind_type) or point.name not in kind.schemes:
        raise IncompatibleError(
            f"{point.name}:// is of {point.value}, which is {kind!r:.60}. "
            f"Expected an entry of type {kind_type.__name__} that has this scheme. Update or "
            "uninstall the package."
        )
    return kind
