"""Who may use a page: a file of names, roles and password hashes, for its owner only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.errors import UsageError
from edge_ad.files import write_text
from edge_ad.page.person import Role
from edge_ad.strict_yaml import YamlProblem, dump_yaml, load_yaml

USERS_FILE = "page-users.yaml"
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 1000  # characters
_ROUNDS = 600_000  # OWASP's figure for PBKDF2 with SHA-256, 2023
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASH = re.compile(r"pbkdf2-sha256\$([0-9]{1,8})\$([A-Za-z0-9+/=]{16,200})\$([A-Za-z0-9+/=]{44})")
ROLES = {role.name.lower(): role for role in Role if role is not Role.ANONYMOUS}


@dataclass(frozen=True, slots=True)
class PageUser:
    """A user: role and the hash of the password."""

    role: Role
    password: str


class UserFile:
    """The users of a page; what changes in the file holds from the next request.

    Raises UsageError for a file that is missing, unfit or readable by others.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int, int] | None = None
        self._users: Mapping[str, PageUser] = {}
        self.read()

    def read(self) -> Mapping[str, PageUser]:
        """Return the users by name. A file that became unfit meanwhile admits no user."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read ({error.strerror}).") from error
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._users = _read(self.path, status)
            self._stamp = stamp
        return self._users


def add_user(path: Path, name: str, role: Role, password: str) -> None:
    """Add a user, or give one another password and role. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' is not a user name. Expected letters, digits, and . _ @ - within."
        )
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UsageError(
            f"the password has {len(password)} characters. Expected at least {SHORTEST_PASSWORD}."
        )
    users = dict(UserFile(path).read()) if path.exists() else {}
    users[name] = PageUser(role, hash_password(password))
    content = {
        each: {"role": user.role.name.lower(), "password": user.password}
        for each, user in users.items()
    }
    before = os.umask(0o077)
    try:
        write_text(path, dump_yaml({"users": content}))
        path.chmod(0o600)
    finally:
        os.umask(before)


def hash_password(password: str, rounds: int | None = None) -> str:
    """Return a salted hash: PBKDF2 with SHA-256."""
    rounds = rounds or _ROUNDS
    salt = secrets.token_bytes(16)
    digest = _digest(password, salt, rounds)
    return f"pbkdf2-sha256${rounds}${_text(salt)}${_text(digest)}"


def is_password(user: PageUser | None, password: str) -> bool:
    """Return whether it is the user's; for no user it takes as long."""
    known = _HASH.fullmatch(user.password if user else _NOBODY)
    assert known is not None
    rounds, salt, expected = int(known[1]), base64.b64decode(known[2]), base64.b64decode(known[3])
    same = hmac.compare_digest(_digest(password, salt, rounds), expected)
    return same and user is not None


def _digest(password: str, salt: bytes, rounds: int) -> bytes:
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.pbkdf2_hmac("sha256", data, salt, rounds)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


_NOBODY = f"pbkdf2-sha256${_ROUNDS}${_text(bytes(16))}${_text(bytes(32))}"


def _read(path: Path, status: os.stat_result) -> Mapping[str, PageUser]:
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise UsageError(
            f"{path} can be read or written by other users of this computer. Run: chmod 600 {path}"
        )
    try:
        content = load_yaml(path)
    except (OSError, YamlProblem) as error:
        raise UsageError(f"{path}: {error}") from error
    users = content.get("users") if isinstance(content, dict) else None
    if not isinstance(users, dict) or not users:
        raise UsageError(f"{path} has no users. Expected those that --add-user writes.")
    return {str(name): _user(path, str(name), values) for name, values in users.items()}


def _user(path: Path, name: str, values: Any) -> PageUser:
    role = values.get("role") if isinstance(values, dict) else None
    password = values.get("password") if isinstance(values, dict) else None
    if not _NAME.fullmatch(name) or role not in ROLES:
        known = ", ".join(ROLES)
        raise UsageError(f"{path}: user '{name[:64]}': expected a role ({known}), got '{role}'.")
    known_hash = _HASH.fullmatch(password) if isinstance(password, str) else None
    if known_hash is None or int(known_hash[1]) < _ROUNDS:
        raise UsageError(
            f"{path}: user '{name}' has no password hash of this program. "
            f"Set one with: edge-ad page DIR --add-user {name}"
        )
    return PageUser(ROLES[role], str(password))
