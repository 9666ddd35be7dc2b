"""What the records hold: trials, curves and traces as Polars tables, and the settings of the study.

Begin with `open.py`, which opens a study by name; `load.py` builds its tables from files.
"""
