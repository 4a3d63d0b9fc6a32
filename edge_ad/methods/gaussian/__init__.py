"""Gaussian: Mahalanobis distance of frozen features to those of normal parts."""
