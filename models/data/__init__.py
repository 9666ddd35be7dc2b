"""Reference data as a training sees them: the file, its splits, and batches of structures.

Begin with `reference_file.py`, which reads and checks a file; `data_set.py` makes batches (`batch.py`) of its rows.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
