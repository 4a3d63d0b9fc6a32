"""Ask the running line for what its store does not have, in the name of the person at the page."""

from __future__ import annotations

from typing import Any

from edge_ad.control.client import LineAway
from edge_ad.control.client import request as ask
from edge_ad.errors import OutletLost
from edge_ad.page.view import PageRequest


def ask_line(request: PageRequest, command: str, **values: object) -> dict[str, Any]:
    """Return the line's answer to a command (`edge_ad.control.messages`).

    Raises LineAway when no line runs, RequestRefused with the reason when it refuses.
    """
    return ask(request.folder, {"command": command, "by": request.person.name[:100], **values})


def line_state(request: PageRequest) -> tuple[dict[str, Any] | None, str]:
    """Return the running line's state, or None and why there is none."""
    try:
        return ask_line(request, "state"), ""
    except (LineAway, OutletLost) as error:
        return None, str(error)
