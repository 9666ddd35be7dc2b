"""The version of the numbers that training gives. It stands alone, for a driver that never imports torch."""

NUMERICS = 2
"""Part of a trial's id. Raised when training would give other numbers than before."""
