"""Synthetic defects on good pictures, in numpy alone.

Training learns from them; calibration covers with them what a defect excites, and its gate finds
them when there are no labelled pictures.
"""
