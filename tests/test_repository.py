"""Packages, imports, verbs and the changelog agree with each other."""

from __future__ import annotations

import ast
import configparser
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import edge_ad
from tests.conftest import all_verbs, invoke

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("edge_ad", "export", "calibration")
CODE = (*PACKAGES, "benchmarks", "examples", "tests")
# for image, again, reported and runtime; a golden seed keeps one, on which frozen values depend
PRIVATE_WORDS = re.compile(r"\b(pictures?|anew|told|flavours?)\b", re.IGNORECASE)
GOLDEN_SEED = 'uniform("picture", '


def files(suffix: str, folders: tuple[str, ...] = CODE) -> Iterator[Path]:
    """Yield the files of some folders, links left out."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob(f"*{suffix}")):
            if not any(part.is_symlink() for part in path.parents):
                yield path


@cache
def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_every_package_is_listed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = {
        ".".join(("edge_ad", *path.parent.relative_to(ROOT).parts))
        for top in ("export", "calibration")
        for path in ROOT.glob(f"{top}/**/__init__.py")
    }
    for path in ROOT.glob("edge_ad/**/__init__.py"):
        if not any(part.is_symlink() for part in path.parents):
            folders.add(".".join(path.parent.relative_to(ROOT).parts))
    assert listed == folders


def test_the_runtime_loads_no_training_packages() -> None:
    modules = "edge_ad.line.open, edge_ad.cli.run, edge_ad.calibration.thresholds.images"
    heavy = ["torch", "onnx", "tensorrt", "tensorrt_rtx", "matplotlib", "sklearn", "scipy", "rich"]
    code = f"import sys, {modules}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_only_click() -> None:
    code = (
        "import sys, edge_ad.cli; "
        "print([m for m in ('numpy', 'cv2', 'pydantic', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", all_verbs())
def test_every_verb_has_help_and_the_shared_options(verb: str) -> None:
    done = invoke(*verb.split(), "--help")
    for option in ("--json", "--config", "--print-config"):
        assert option in done.stdout, f"{verb} has no {option}"


def test_a_misspelt_verb_gets_the_nearest_as_a_hint() -> None:
    done = invoke("trian")
    assert done.returncode == 2 and "Did you mean 'train'?" in done.stderr


def test_the_newest_version_of_the_changelog_is_this_one() -> None:
    versions = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == edge_ad.__version__


def test_no_public_class_name_stands_in_two_modules() -> None:
    names = Counter(
        node.name
        for path in files(".py", PACKAGES)
        for node in syntax(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_functions_and_files_are_short() -> None:
    lengths = [
        node.end_lineno - node.lineno + 1
        for path in files(".py", PACKAGES)
        for node in ast.walk(syntax(path))
        if isinstance(node, ast.FunctionDef) and node.end_lineno
    ]
    assert statistics.median(lengths) < 9
    long = [path.name for path in files(".py") if len(path.read_text("utf-8").splitlines()) > 330]
    assert long == []


def test_the_field_s_words_are_used() -> None:
    pages = [*ROOT.glob("*.md"), *files(".md", ("docs",)), *files(".py"), *files(".ipynb")]
    uses = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in pages
        if path != Path(__file__)
        for line in path.read_text(encoding="utf-8").splitlines()
        if PRIVATE_WORDS.search(line) and GOLDEN_SEED not in line
    ]
    assert uses == []
