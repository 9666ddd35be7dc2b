"""An estimate: a mean over independent units with its 95 % interval, and its text with the digits that it supports."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor, log10, sqrt

import numpy as np
from scipy import stats

from tesseral.study.design.allocation import CONFIDENCE
from tesseral.study.errors import TesseralError

SIGNIFICANCE = 0.05
"""A comparison is significant if its Holm-corrected p-value is below this."""

FEWEST_UNITS = 3
"""Smallest number of units that gives an interval, and of planned blocks that makes the block the unit. With two units,
t(0.975, 1) = 12.7, and the interval is too wide to tell anything."""

SMALL = 1e-3
"""Smaller numbers are written with a power of ten."""

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
"""Characters of a number → the same raised."""

_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Estimate:
    """A mean over units, its 95 % interval, and the two-sided p-value of a zero mean; None with too few units."""

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and zero is outside it."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def t_estimate(units: Sequence[float] | np.ndarray) -> Estimate:
    """Mean of independent units with Student's 95 % interval, x̄ ± t(0.975, n − 1)·s/√n (Biometrika 6, 1, 1908).

    There are n − 1 degrees of freedom, because the standard deviation s is taken about the mean of the same n units.

    :param units: one value for each unit, close to normally distributed. Fewer than three give the mean only.
    :returns: the mean with its interval, both in the unit of `units`, and p of the two-sided t test of a zero mean.
    :raises TesseralError: if there is no unit.
    """
    values = np.asarray(units, dtype=float)
    if values.size == 0:
        raise TesseralError("expected at least one value to average, got none")
    mean = float(values.mean())
    if values.size < FEWEST_UNITS:
        return Estimate(mean)
    error = float(values.std(ddof=1)) / sqrt(values.size)
    if error == 0.0:  # equal units have no t statistic: the interval is the mean itself
        return Estimate(mean, mean, mean, 1.0 if mean == 0.0 else 0.0)
    freedom = values.size - 1
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return Estimate(mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, freedom)))


def decimals(*values: float | None) -> int:
    """Number of decimals that show half the width of an interval to two significant digits.

    An uncertainty is stated to at most two digits (JCGM 100:2008, 7.2.6), and a value to the same decimals. At most
    four digits of the largest value are shown, and three of a value without an interval.

    :param values: an estimate and its bounds, which may be None.
    """
    known = [value for value in values if value is not None]
    spread, largest = (max(known) - min(known)) / 2, max(abs(value) for value in known)
    if largest == 0:
        return 0
    wanted = 1 - floor(log10(spread)) if spread else 2 - floor(log10(largest))
    return max(0, min(wanted, 3 - floor(log10(largest))))


def number(value: float, places: int, *, signed: bool = False) -> str:
    """A number with fixed decimals and separated thousands; in scientific notation beyond six decimals."""
    text = f"{value:{'+' if signed else ''},.{places}f}" if places <= 6 else f"{value:{'+' if signed else ''}.1e}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("+-")  # no −0
    return text.replace("-", _MINUS)


def interval(estimate: Estimate, unit: str = "", *, signed: bool = False) -> str:
    """An estimate with its interval, such as `0.302 % [0.283, 0.321]`, or `2.1 [1.4, 2.9]·10⁻⁵` if it is small.

    :param signed: whether a positive value gets a plus sign, for changes.
    """
    known = (estimate.value, estimate.low, estimate.high)
    largest = max(abs(v) for v in known if v is not None)
    if 0 < largest < SMALL:
        power = floor(log10(largest))
        low, high = (None if bound is None else bound / 10.0**power for bound in (estimate.low, estimate.high))
        scaled = replace(estimate, value=estimate.value / 10.0**power, low=low, high=high)
        return f"{interval(scaled, signed=signed)}·10{str(power).translate(SUPERSCRIPT)} {unit}".rstrip()
    places = decimals(estimate.value, estimate.low, estimate.high)
    text = f"{number(estimate.value, places, signed=signed)} {unit}".rstrip()
    if estimate.low is None or estimate.high is None:
        return text
    bounds = (number(bound, places, signed=signed) for bound in (estimate.low, estimate.high))
    return f"{text} [{', '.join(bounds)}]"


def p_value(p: float) -> str:
    """A p-value as text, such as `0.012` or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def signed_percent(share: float) -> str:
    """A share in percent without its unit, such as `+1.20`, `−0.35`, `0.00`."""
    text = f"{100 * share:+.2f}"
    return text.replace("-", _MINUS) if float(text) else "0.00"
