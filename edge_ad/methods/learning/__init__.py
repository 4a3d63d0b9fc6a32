"""Shared parts of the methods' trainings: settings, trainer interface, batches, losses."""
