"""Where and when it runs: executors, the driver and the command line."""

import os

# Trials and structures are the unit of parallel work, and the last bits of NumPy's products depend on its threads.
# NumPy reads this once, when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
