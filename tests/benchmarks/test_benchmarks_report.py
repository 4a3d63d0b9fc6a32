from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_readme_says_what_the_result_files_say() -> None:
    code = (
        "import report; text = report.README.read_text(); "
        "print(text == report.replaced(text, report.render(report.read_results())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "benchmarks", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "True", "run: python benchmarks/report.py"
