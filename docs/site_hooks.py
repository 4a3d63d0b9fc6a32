"""Bring pages and result files from outside docs/ into the site.

The repository's links must work where the files are read as they are, so the originals keep links
like `../benchmarks/results/x.json` and `docs/line.md`; here they are rewritten for the site.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md")
RESULTS = "benchmarks/results"
_CODE_LINK = re.compile(
    r"\[([^\]]+)\]\((?:\.\./)+(?:edge_ad|export|calibration|benchmarks|examples|packaging|tests)/[^)]*\)"
)


def on_files(files: Files, config: Any) -> Files:
    """Add the root's pages and the benchmarks' result files."""
    for name in PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=_for_site(text)))
    for path in sorted((ROOT / RESULTS).glob("*.json")):
        files.append(File.generated(config, f"results/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Point links to result files at the copies in the site; links to code become their text."""
    return _CODE_LINK.sub(r"\1", markdown.replace(f"](../{RESULTS}/", "](results/"))


def _for_site(text: str) -> str:
    """Rewrite links of a page of the root: docs/ is the site's root; the rest is code."""
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#|[\w./-]+\.md)[^)]+\)", r"\1", text)
