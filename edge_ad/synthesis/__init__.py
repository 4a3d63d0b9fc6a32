"""Synthetic anomalies on images of normal parts, in numpy alone."""
