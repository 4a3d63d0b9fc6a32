"""Training: data, loop, checkpoints, session, report."""
