"""Where trials run: the contract of an executor, this process, Ray Tune, and what a worker does.

Begin with `executor.py`, the contract; `worker.py` runs one trial; `ray_tune.py` is the executor on Ray.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
