"""Figures of a benchmark: rows that say what was measured, what it may be at most, and whether it is."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Figure(NamedTuple):
    """One measured number."""

    what: str
    value: float
    unit: str
    most: float | None = None
    """What it may be at most; None where nothing is claimed."""


def report(figures: Iterable[Figure], path: Path) -> None:
    """Print figures, and merge them into a file of them as JSON: those of the same `what` are replaced."""
    known = {row["what"]: row for row in json.loads(path.read_text())} if path.exists() else {}
    for what, value, unit, most in figures:
        row = {"what": what, "value": round(value, 3), "unit": unit, "threshold": most}
        known[what] = row | {"holds": most is None or value <= most}
        print(f"{what}: {row['value']} {unit}" + ("" if most is None else f" (at most {most})"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(known.values()), indent=2) + "\n")
