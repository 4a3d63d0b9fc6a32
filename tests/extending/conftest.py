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


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], ModuleType]:
    """Import a module of this folder under the name that the page gives it."""

    def install(example: str, name: str) -> ModuleType:
        module = importlib.import_module(f"tests.extending.{example}")
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return install


@pytest.fixture
def add_entry(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Evaluate the page's entry of a registry and append it to the registry's tuple."""

    def add(file: str, name: str) -> None:
        registry = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        entry = eval(blocks()[file, name].strip().rstrip(","), vars(registry))
        monkeypatch.setattr(registry, name, (*getattr(registry, name), entry))

    return add
