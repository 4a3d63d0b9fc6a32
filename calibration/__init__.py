"""INT8 calibration (ranges, Q/DQ placement, accuracy gate) and thresholds."""
