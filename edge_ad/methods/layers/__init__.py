"""Network layers that several methods share."""
