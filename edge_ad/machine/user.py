"""Who is at this computer."""

from __future__ import annotations

import getpass
import os


def user_name() -> str:
    """Return the name of the person at the terminal, for records."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return f"user {os.getuid()}"
