"""INT8 quantization: Q/DQ placement, accuracy gate, search for what stays in float."""
