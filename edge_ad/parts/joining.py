"""Groups of indices that grow by joining."""

from __future__ import annotations

from collections.abc import Iterable


class Groups:
    """Divides 0..count-1 into groups; every index begins alone."""

    def __init__(self, count: int, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self._members = [[index] for index in range(count)]
        for first, second in pairs:
            self.join(first, second)

    def members(self, index: int) -> list[int]:
        """Return the group of an index; the same list for all of its members."""
        return self._members[index]

    def join(self, first: int, second: int) -> None:
        """Make one group of those of two indices."""
        into, joining = self._members[first], self._members[second]
        if into is joining:
            return
        into.extend(joining)
        for index in joining:
            self._members[index] = into

    def numbers(self) -> list[int]:
        """Return the group number of each index, groups numbered by their first index."""
        known: dict[int, int] = {}
        return [known.setdefault(id(group), len(known)) for group in self._members]
