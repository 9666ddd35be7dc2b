"""The files that a person writes: study files, recipes and mappings; the arms and trials of a study, and their records.

Begin with `study.py`, a validated study; `configuration/` is what one trial trains, `records/` what is kept of it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
