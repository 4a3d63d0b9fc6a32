"""Bundles: what one line runs, signed in one file, installed alike on forty devices."""
