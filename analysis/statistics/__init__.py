"""What follows from the tables, with 95 % intervals.

Begin with `paired.py`, the estimators, and `results.py`, which computes everything that a report states.
"""
