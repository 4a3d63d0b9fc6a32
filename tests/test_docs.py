"""Commands, configuration files and links in the documentation are valid."""

from __future__ import annotations

import pkgutil
import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import command_of

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "edge_ad/sample/README.md"])
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
_BLOCK = re.compile(r"^ {4,}(edge-ad [a-z].*)$", re.MULTILINE)
_COMMENT = re.compile(r" {2,}#.*| [|&].*")
_INLINE = re.compile(r"`(edge-ad [a-z][^`]*)`")
_YAML = re.compile(r"^```yaml\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """Return the `edge-ad VERB ...` commands in a page's code blocks, without comments."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return [_COMMENT.sub("", line) for line in _BLOCK.findall(text)]


def mentions(page: Path) -> list[str]:
    """Return the `edge-ad VERB ...` commands in a page's sentences, which may be incomplete."""
    return _INLINE.findall(page.read_text(encoding="utf-8"))


def split_command(words: list[str]) -> tuple[str, list[str]]:
    """Return a verb, with its action if it has some, and the arguments."""
    actions = getattr(command_of(words[0]), "commands", {})
    count = 2 if len(words) > 1 and words[1] in actions else 1
    return " ".join(words[:count]), words[count:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_parse(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in _YAML.findall(page.read_text(encoding="utf-8")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    for line in commands(page):
        verb, arguments = split_command(shlex.split(line)[1:])
        command_of(verb).make_context(verb, arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_mentioned_commands_have_known_options(page: Path) -> None:
    for mention in mentions(page):
        words = shlex.split(mention)[1:]
        if words[0].isupper():
            continue  # a placeholder: `edge-ad VERB --help`
        verb, arguments = split_command(words)
        known = {name for option in command_of(verb).params for name in option.opts} | {"--help"}
        assert {word for word in arguments if word.startswith("--")} <= known, mention


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [link for link in _LINK.findall(text) if not (page.parent / link).exists()] == []


def test_the_python_reference_names_what_exists() -> None:
    page = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    names = re.findall(r"^::: (\S+)", page, re.MULTILINE)
    assert len(names) > 10
    for name in names:
        pkgutil.resolve_name(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_imports_in_examples_work(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S):
        lines = re.findall(r"^(?:from|import) .*", block, re.M)
        if re.match(r"# \w+/", block):  # a file of the package, which tests run
            continue
        for module in re.findall(r"^(?:from|import) (\w+)", "\n".join(lines), re.M):
            pytest.importorskip(module)
        exec("\n".join(lines), {})


def test_the_readme_shows_the_verbs_of_a_line() -> None:
    verbs = {shlex.split(line)[1] for line in commands(ROOT / "README.md")}
    assert {"doctor", "capture", "train", "export", "threshold", "run", "build"} <= verbs
