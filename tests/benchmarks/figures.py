"""Figures of a benchmark: rows that say what was measured, what it may be, and whether it is."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

CHANCE = 3.0
"""Standard errors by which a share of simulated studies may miss its threshold. Of figures whose truth is the threshold
itself one in 700 then fails by chance."""


class Figure(NamedTuple):
    """One measured number."""

    what: str
    value: float
    unit: str
    most: float | None = None
    """What it may be at most; None where nothing is claimed."""
    least: float | None = None
    """What it may be at least; None where nothing is claimed."""
    error: float = 0.0
    """Its standard error, where it is a share of simulated studies."""

    @property
    def holds(self) -> bool:
        """Whether the number is what it may be, but for `CHANCE`."""
        low, high = self.value - CHANCE * self.error, self.value + CHANCE * self.error
        return (self.most is None or low <= self.most) and (self.least is None or high >= self.least)

    @property
    def threshold(self) -> float | list[float | None] | None:
        """What it may be at most; with a least as well, both."""
        return self.most if self.least is None else [self.least, self.most]


def report(figures: Iterable[Figure], path: Path) -> bool:
    """Print figures, and merge them into a file of them as JSON: those of the same `what` are replaced.

    :returns: whether all of them hold.
    """
    known = {row["what"]: row for row in json.loads(path.read_text())} if path.exists() else {}
    all_hold = True
    for figure in figures:
        row = {"what": figure.what, "value": _rounded(figure.value), "unit": figure.unit}
        row |= {"error": _rounded(figure.error)} if figure.error else {}
        known[figure.what] = row | {"threshold": figure.threshold, "holds": figure.holds}
        all_hold &= figure.holds
        bounds = [f"at {word} {bound}" for word in ("least", "most") if (bound := getattr(figure, word)) is not None]
        words = f" ({', '.join(bounds)})" if bounds else ""
        spread = f" ± {row['error']}" if figure.error else ""
        fails = "" if figure.holds else ": DOES NOT HOLD"
        print(f"{figure.what}: {row['value']}{spread} {figure.unit}{words}{fails}", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(known.values()), indent=2) + "\n")
    return all_hold


def _rounded(value: float) -> float:
    """Three decimals, or three digits of what is smaller than a tenth."""
    return round(value, 3) if abs(value) >= 0.1 else float(f"{value:.3g}")
