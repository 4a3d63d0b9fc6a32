"""Inspect every image of a folder and write one CSV line for each.

python examples/folder_to_csv.py parts/ --engine destseg.onnx -o results.csv
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import edge_ad
from edge_ad import Detector, EdgeAdError
from edge_ad.images import list_images

ENGINE = Path(edge_ad.__file__).parent / "sample" / "engine.onnx"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", type=Path, default=ENGINE)
    parser.add_argument("-o", "--output", type=Path, default=Path("results.csv"))
    options = parser.parse_args()

    with Detector(options.engine) as detector, options.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "verdict", "score", "threshold", "regions", "reason"])
        for path in list_images(options.folder):
            try:
                result = detector(path)
            except EdgeAdError as error:  # a damaged file: a line for it too, and on with the next
                writer.writerow([path.name, "INVALID", "", "", "", error])
                continue
            writer.writerow([
                path.name, result.verdict.value, result.score, result.threshold,
                len(result.regions), result.reason,
            ])  # fmt: skip
    print(options.output)


if __name__ == "__main__":
    main()
