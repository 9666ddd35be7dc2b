"""What a person wrote, read and checked: TOML, conditions, irreps, fusion diagrams, presets and names of functions.

Begin with `validation.py`, which turns tables into typed settings or one sentence about the first mistake.
"""
