"""Thresholds from images of normal parts, with a distribution-free guarantee."""
