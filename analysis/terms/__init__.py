"""What things are called: estimates, targets and metrics in words.

Begin with `estimate.py`, a mean with its interval; `wording.py` writes it with the digits that the interval supports.
"""
