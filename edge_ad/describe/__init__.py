"""Describe weights, engines and plans for `edge-ad inspect`.

Every kind of file gives a dictionary for `--json`. They share its keys as far as they apply:
`kind`, `manifest`, `contract`, `graph`, `threshold`.
"""

from edge_ad.describe.files import inspect_file

__all__ = ["inspect_file"]
