"""The terms of an analysis: an estimate and what its intervals hold for, targets and metrics in words.

Begin with `sampling.py`: what an interval averages first, what its unit is, and what it generalises to.
"""
