"""What hidden features hold, and what trained networks use, by layer and order l.

Begin with `features.py`, the share of each order during training; `ablations.py` is what the network loses without it.
"""
