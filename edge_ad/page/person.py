"""Who uses the page, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """What a person may do; each role includes those below it."""

    ANONYMOUS = 0  # has not logged in
    VIEWER = 1  # looks
    OPERATOR = 2  # acknowledges, marks, pauses
    ADMIN = 3  # changes what is rejected


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: a name for records, and the role."""

    name: str
    role: Role
