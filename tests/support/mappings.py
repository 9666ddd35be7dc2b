"""Mappings of a file `made.xyz`, with the labels that a test needs."""

from tesseral.study.parsing.validation import validate
from tesseral.study.recipe.mapping import Mapping


def mapping(*labels: dict, **source: object) -> Mapping:
    tree = {"reference": {"name": "made"}, "source": {"file": "made.xyz"} | source, "labels": list(labels)}
    return validate(Mapping, tree)


def label(column: str, unit: str = "au", **keys: object) -> dict:
    return {"name": "mine", "column": column, "unit": unit} | keys
