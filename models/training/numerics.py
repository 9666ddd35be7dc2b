"""Version of the numbers that training gives. A module of its own, because the driver never imports torch."""

NUMERICS = 6
"""Part of a trial's id; raised whenever training would give other numbers than before."""
