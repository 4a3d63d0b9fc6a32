"""The anomaly-detection methods: one folder each, shared layers beside them."""
