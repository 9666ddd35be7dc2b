"""How arms compare: their errors and costs, which is best, which step earns its cost, and how surely that is known.

Begin with `paired.py`, the estimators that the others share, and `steps.py`, the verdicts.
"""
