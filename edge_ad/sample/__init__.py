"""The shipped sample: a detector and footage of the line it watches, made by `make.py`."""
