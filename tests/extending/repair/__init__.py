"""Repair: a small autoencoder, and where its repair differs from the image."""
