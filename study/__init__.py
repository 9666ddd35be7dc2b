"""What is asked: study files, recipes and mappings, their arms and trials, and the records that answer them.

Begin with `study.py`, a validated study; `configuration/` is what one trial trains, `records/` what is kept of it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
