"""Numbers an engine needs from good pictures: thresholds."""
