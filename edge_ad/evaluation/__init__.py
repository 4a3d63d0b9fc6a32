"""How well a detector tells anomalous from normal parts."""
