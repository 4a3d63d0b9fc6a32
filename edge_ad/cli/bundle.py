"""`edge-ad bundle`: sign what a line runs, install it on devices, take it back."""

from __future__ import annotations

import click

from edge_ad.cli.bundle_create import create, sign
from edge_ad.cli.bundle_install import install, rollback, watch
from edge_ad.cli.bundle_site import site
from edge_ad.cli.bundle_status import inspect, status, verify


@click.group()
def command() -> None:
    """Put engines and line file into one signed file, and install it alike on many devices."""


for action in (create, sign, inspect, verify, install, watch, rollback, site, status):
    command.add_command(action)
