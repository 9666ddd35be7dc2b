"""What things are called: estimates, targets and metrics in words.

Begin with `estimate.py`, a mean with its interval, written with the digits that the interval supports.
"""
