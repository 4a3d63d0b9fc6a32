"""Frames come from here: a URI becomes an iterator of grabs."""
