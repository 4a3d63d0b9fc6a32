"""What can be checked of the container file without building it."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


FILES = ("Containerfile", "Containerfile.l4t")


def instructions(file: str) -> list[tuple[str, str]]:
    text = (ROOT / "packaging" / file).read_text(encoding="utf-8")
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    words = [line.split(None, 1) for line in lines if line.strip()]
    return [(name, value) for name, value in words]


@pytest.mark.parametrize("file", FILES)
def test_it_copies_files_that_exist(file: str) -> None:
    for name, value in instructions(file):
        if name == "COPY":
            assert all((ROOT / source).exists() for source in value.split()[:-1]), value


def test_it_installs_extras_that_exist() -> None:
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    named = dict(instructions("Containerfile"))
    assert '"/source[$EXTRAS]"' in str(instructions("Containerfile"))
    default = named["ARG"].removeprefix("EXTRAS=")
    text = (ROOT / "packaging" / "Containerfile").read_text(encoding="utf-8")
    for extra in ",".join([default, *re.findall(r"arg EXTRAS=(\S+)", text)]).split(","):
        assert re.search(rf"^{extra} =", setup, re.MULTILINE), extra


@pytest.mark.parametrize("file", FILES)
def test_its_command_starts_a_line_with_an_init_and_after_a_reboot(file: str) -> None:
    text = (ROOT / "packaging" / file).read_text(encoding="utf-8")
    commands = re.findall(r"docker run (.*?) run ", text.replace("\\\n#", ""))
    options = "--init", "--restart=unless-stopped", "--stop-timeout 60"
    assert commands and all(option in command for command in commands for option in options)


@pytest.mark.parametrize("file", FILES)
def test_a_line_runs_without_privileges_in_its_volume(file: str) -> None:
    named = dict(instructions(file))
    assert named["USER"] not in {"root", "0"}
    assert named["VOLUME"] == named["WORKDIR"] == "/data"
    names = [name for name, _ in instructions(file)]
    assert names.index("USER") > max(n for n, name in enumerate(names) if name in {"RUN", "COPY"})
    assert json.loads(named["ENTRYPOINT"]) == ["edge-ad"]


def test_on_a_jetson_every_requirement_but_opencv_is_installed_by_name() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = {re.split(r"[<>=]", line)[0] for line in
                setup["options"]["install_requires"].split()}  # fmt: skip
    installed = str(instructions("Containerfile.l4t"))
    assert [name for name in required if not re.search(rf"\b{name}\b", installed)] == [
        "opencv-python-headless"
    ]


@pytest.mark.parametrize("file", ["constraints-jetpack6.txt", "constraints-jetpack7.txt"])
def test_constraints_name_packages_of_ours(file: str) -> None:
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    lines = (ROOT / "packaging" / file).read_text(encoding="utf-8").splitlines()
    for line in lines:
        if not line.startswith("#"):
            name = re.split(r"[<>=]", line)[0]
            assert re.search(rf"^(?:\w+ = |    ){name}\b", setup, re.MULTILINE), line
