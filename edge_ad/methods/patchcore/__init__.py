"""PatchCore: distance to the nearest patch of a memory of normal patches."""
