"""Which arms, matched, tuned and paired how: from the tables of a study file to arms and the stages of their trials.

Begin with `study_file.py`, every table and key; `factorial.py` makes the arms, `match.py` gives them equal size.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
