"""Run a verb in this process, as the command would."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from typing import NamedTuple
from unittest import mock

from edge_ad.cli import main

_CODES = frozenset({0, 1, 2, 3, 4, 5, 6})


class Done(NamedTuple):
    """What a verb printed, and its exit code."""

    code: int
    out: str
    err: str


def verb(*words: object) -> Done:
    """Run `edge-ad` with these words. A refusal must explain itself on stderr."""
    command = ["edge-ad", *map(str, words)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    handler = logging.StreamHandler(err)
    logging.getLogger().addHandler(handler)
    try:
        with (
            mock.patch.object(sys, "argv", command),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    finally:
        logging.getLogger().removeHandler(handler)
    done = Done(code, out.getvalue(), err.getvalue())
    assert done.code in _CODES, done
    assert not done.code or len(done.err) > 20, f"a refusal without a reason: {done}"
    return done
