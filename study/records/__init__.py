"""What is kept of a study, and which of it counts: create-only JSON and sealed Parquet in a folder or an object store.

Begin with `schemas.py`, every table. `ledger.py` reads a study and `attempt.py` writes a trial, in a `store.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
