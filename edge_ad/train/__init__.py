"""Fitting a detector to pictures of good parts."""
