"""Options that several actions of `edge-ad bundle` and `edge-ad keys` share."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_ad.errors import EdgeAdError, UsageError

if TYPE_CHECKING:
    from edge_ad.bundle.signing import SigningKey

PASSPHRASE = "EDGE_AD_KEY_PASSPHRASE"
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
DEFAULT_TRUST = Path("/etc/edge-ad/trust.yaml")
_RESTART_S = 300.0


def trust_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--trust`."""
    return click.option(
        "--trust",
        type=FILE,
        default=DEFAULT_TRUST,
        show_default=True,
        help="File with the keys that are trusted and those that are revoked.",
    )(function)


def restart_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--restart`."""
    return click.option(
        "--restart",
        metavar="COMMAND",
        help="Command that starts the line again after a switch, run without a shell.",
    )(function)


def open_key(path: Path) -> SigningKey:
    """Read a private key; its passphrase comes from the environment or the terminal."""
    from edge_ad.bundle.signing import load_key, needs_passphrase

    secret = read_passphrase(f"Passphrase of {path}") if needs_passphrase(path) else None
    return load_key(path, secret)


def read_passphrase(prompt: str, *, twice: bool = False) -> str:
    """Return the passphrase from the environment, or ask for it at the terminal."""
    if secret := os.environ.get(PASSPHRASE):
        return secret
    if not sys.stdin.isatty():
        raise UsageError(
            f"a passphrase is needed and there is no terminal to ask at. Set {PASSPHRASE}."
        )
    secret = click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
    return str(secret)


def run_restart(text: str) -> None:
    """Run the command that starts the line again. Raises UsageError, EdgeAdError when it fails."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--restart '{text}': {error}.") from error
    if not words:
        raise UsageError("--restart is empty.")
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=_RESTART_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgeAdError(f"--restart '{text}' failed: {error}.") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise EdgeAdError(
            f"--restart '{text}' ended with exit code {done.returncode}"
            + (f": {said[0]}" if said else ".")
        )
