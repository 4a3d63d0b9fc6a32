"""What can be checked of the container file without building it."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "packaging" / "Containerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    words = [line.split(None, 1) for line in lines if line.strip()]
    return [(name, value) for name, value in words]


def test_it_copies_files_that_exist() -> None:
    for name, value in instructions():
        if name == "COPY":
            assert all((ROOT / source).exists() for source in value.split()[:-1]), value


def test_it_installs_extras_that_exist() -> None:
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    (extras,) = re.findall(
        r"/source\[([\w,-]+)\]", dict(instructions())["RUN"] + str(instructions())
    )
    for extra in extras.split(","):
        assert re.search(rf"^{extra} =", setup, re.MULTILINE), extra


def test_a_line_runs_without_privileges_in_its_volume() -> None:
    named = dict(instructions())
    assert named["USER"] not in {"root", "0"}
    assert named["VOLUME"] == named["WORKDIR"] == "/data"
    names = [name for name, _ in instructions()]
    assert names.index("USER") > max(n for n, name in enumerate(names) if name in {"RUN", "COPY"})
    assert json.loads(named["ENTRYPOINT"]) == ["edge-ad"]
