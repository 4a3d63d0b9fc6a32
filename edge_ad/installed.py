"""Entries of registries that other installed packages bring: cameras, outlets, methods.

Such a package has an entry point in the group `edge_ad.cameras`, `edge_ad.outlets` or
`edge_ad.methods`. Its name is the scheme or the method's name, its object the same entry that the
registry of this package would have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from edge_ad.errors import IncompatibleError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint, EntryPoints


class RegistryEntry(Protocol):
    """An entry of a registry."""

    @property
    def names(self) -> tuple[str, ...]:
        """What an entry point for it may be called."""


Entry = TypeVar("Entry", bound=RegistryEntry)


def installed_names(group: str) -> list[str]:
    """Return the names that installed packages add to a group, without importing the packages."""
    return sorted(_entry_points(group).names)


def find_entry(
    ours: Iterable[Entry], group: str, name: str, entry_type: type[Entry]
) -> Entry | None:
    """Return the entry of a name: one of `ours`, else that of a package; None for no entry.

    Raises IncompatibleError when the package cannot be imported or has something else there.
    """
    for entry in ours:
        if name in entry.names:
            return entry
    found = _entry_points(group)
    return _load(found[name], entry_type) if name in found.names else None


def _entry_points(group: str) -> EntryPoints:
    from importlib.metadata import entry_points  # slow, and needed for an unknown name alone

    return entry_points(group=group)


def _load(point: EntryPoint, entry_type: type[Entry]) -> Entry:
    try:
        entry = point.load()
    except Exception as error:  # a foreign module may raise anything on import
        raise IncompatibleError(
            f"'{point.name}' is of {point.value}, which cannot be imported "
            f"({type(error).__name__}: {error}). Update or uninstall the package that provides it."
        ) from error
    if not isinstance(entry, entry_type) or point.name not in entry.names:
        raise IncompatibleError(
            f"'{point.name}' is of {point.value}, which is {entry!r:.60}. Expected "
            f"an entry of a registry, {entry_type.__name__}, of this name. Update or uninstall the "
            "package that provides it."
        )
    return entry
