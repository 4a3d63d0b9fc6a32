"""What a file is and where it came from: one module a kind of file.

A kind answers `facts(path)`: a dictionary for `edge-ad inspect --json`. The kinds share its keys as
far as they apply: `kind`, `manifest`, `contract`, `graph`, `threshold`.
"""

from edge_ad.describe.registry import inspect_file

__all__ = ["inspect_file"]
