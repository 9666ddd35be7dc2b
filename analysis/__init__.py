"""Analysis of a study: its tables, its statistics with intervals, its figures and the report.

Begin with `tables/open.py`, which opens a study by name, and `statistics/results.py`, which computes all its results.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
