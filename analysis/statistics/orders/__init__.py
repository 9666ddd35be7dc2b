"""Which orders l of the output gain from hidden features.

Begin with `orders.py`, the errors by order; `order_trend.py` tests what `benefit.py` shows.
"""
