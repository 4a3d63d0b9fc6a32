"""The code blocks of docs/extending.md, and a way to install one as if it were a file."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "extending.md"
_BLOCK = re.compile(r"^```python\n# (\S+)(?:, in (\w+))?\n\n?(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> dict[tuple[str, str], str]:
    """Map (file, name within it or '') to the code that the page shows for it."""
    text = PAGE.read_text(encoding="utf-8")
    return {(file, name): code for file, name, code in _BLOCK.findall(text)}


def entry(file: str, name: str, holding: str) -> str:
    """Return the page's only entry of a registry that holds a text."""
    page = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    (code,) = [code for *place, code in page if place == [file, name] and holding in code]
    return str(code).strip().rstrip(",")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], ModuleType]:
    """Import a module of this folder under the name that the page gives it."""

    def install(example: str, name: str) -> ModuleType:
        module = importlib.import_module(f"tests.extending.{example}")
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return install


@pytest.fixture
def add_entry(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Evaluate the page's entry of a registry and append it to the registry's tuple."""

    def add(file: str, name: str, holding: str = "") -> None:
        registry = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        value = eval(entry(file, name, holding), vars(registry))
        monkeypatch.setattr(registry, name, (*getattr(registry, name), value))

    return add
