"""Where and when a study runs: reference data, planning, the driver, executors and the command line.

Begin with `campaign/driver.py`, whose `run` is what `tesseral run` does; `commands/app.py` is the command line.
"""

import os

# Trials and structures are the unit of parallel work, and the last bits of NumPy's products depend on its threads.
# NumPy reads this variable once, when it is imported, so it is set before anything else here is.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
