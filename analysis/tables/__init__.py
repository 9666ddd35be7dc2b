"""What the records hold, as Polars tables, and what the study asked.

Begin with `open.py`, which opens a study by name; `load.py` builds its tables from files.
"""
