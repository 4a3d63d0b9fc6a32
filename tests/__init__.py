"""Tests of edge-ad. What is set here holds before any of them, or numpy, is imported."""

import gc
import os

gc.disable()  # what is imported is kept; see `pytest_collection_finish`
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices are small, and threads wait busily
