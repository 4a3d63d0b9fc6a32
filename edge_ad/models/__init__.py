"""The networks: one file per method, pure modules that know nothing of training."""
