"""What follows from the tables, with 95 % intervals.

`comparisons/` compares arms, `orders/` asks by order l of the output, `features/` by order of the hidden features, and
`searches/` what the search tells. Begin with `comparisons/paired.py`, the estimators, and `results.py`, which computes
everything that a report states.
"""
