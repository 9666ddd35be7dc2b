"""What a search tells of its hyperparameters and of its budget.

Begin with `importance.py`; `search_value.py` is what more proposals would bring.
"""
