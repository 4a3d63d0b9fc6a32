"""Accuracy metrics and reports on labelled images."""
