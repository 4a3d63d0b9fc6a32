"""What the methods' trainings share: the trainer interface, batches, losses, selection."""
