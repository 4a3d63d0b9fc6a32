"""Shipped sample: a detector and footage of the line it inspects, made by `make.py`."""
