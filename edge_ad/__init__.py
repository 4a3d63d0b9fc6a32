"""edge-ad: from images of good parts to an alarm on the line."""

__version__ = "0.1.0"
