"""EAR: excision and recovery."""
