"""An estimate: a mean over independent units with its 95 % intervals, and its text with the digits that it supports."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import floor, log10, sqrt
from typing import Literal

import numpy as np
import scipy  # its modules are imported when they are used: scipy.stats takes a second

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


Aggregate = Literal["mean", "iqm"]
"""What is taken over units: their mean, or their interquartile mean."""

AGGREGATES: dict[Aggregate, str] = {"mean": "mean", "iqm": "interquartile mean"}
"""Aggregate → its words."""

_CUT = 0.25
"""Share of the units that the interquartile mean leaves out at either end."""


@dataclass(frozen=True)
class Bounds:
    """A 95 % interval, and the two-sided p-value of a zero mean."""

    low: float
    high: float
    p: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Estimate:
    """A mean over units with its 95 % interval for new data of the same kind, and the one for these data alone.

    `low`, `high` and `p` (of a zero mean, two-sided) are those for new data; see `tesseral.analysis.terms.sampling`
    for both. They are None with too few units, or where nothing is said beyond the data at hand.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    here: Bounds | None = None
    """For these data: new splits, initialisations and searches of them. None with too few units."""

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval for new data and zero is outside it."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def shown(self) -> tuple[float, float] | tuple[None, None]:
        """The bounds that figures and tables show first: for new data, else for these data; see `Sampling.shown`."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        return (self.here.low, self.here.high) if self.here else (None, None)

    @property
    def differs_here(self) -> bool:
        """Whether there is an interval for these data beside another one for new data."""
        return self.here is not None and (self.here.low, self.here.high) != self.shown

    def transformed(self, function: Callable[[float], float]) -> "Estimate":
        """The estimate of a rising function of the mean; p stays.

        :param function: applied to the value and every bound.
        """
        low, high = (None if bound is None else function(bound) for bound in (self.low, self.high))
        here = self.here and replace(self.here, low=function(self.here.low), high=function(self.here.high))
        return replace(self, value=function(self.value), low=low, high=high, here=here)

    def negative(self) -> "Estimate":
        """The estimate of the mean with its sign changed."""
        low, high = (None if bound is None else -bound for bound in (self.high, self.low))
        here = self.here and replace(self.here, low=-self.here.high, high=-self.here.low)
        return replace(self, value=-self.value, low=low, high=high, here=here)


def aggregated(units: np.ndarray, aggregate: Aggregate) -> np.ndarray:
    """The mean or the interquartile mean over the last axis.

    :param units: one value for each unit along the last axis, at least one.
    :param aggregate: which of the two.
    """
    return np.asarray(scipy.stats.trim_mean(units, _CUT, axis=-1) if aggregate == "iqm" else units.mean(axis=-1))


def t_estimate(units: Sequence[float] | np.ndarray, aggregate: Aggregate = "mean", overlap: float = 0.0) -> Estimate:
    """Mean of units with Student's 95 % intervals, x̄ ± t(0.975, n − 1)·s·√(1/n + overlap) and, for these data, s/√n.

    There are n − 1 degrees of freedom, because the standard deviation s is taken about the mean of the same n units
    (Student, Biometrika 6, 1, 1908). See `tesseral.analysis.terms.sampling` for the overlap and for what the
    interquartile mean does.

    :param units: one value for each unit, close to normally distributed. Fewer than three give the mean only.
    :param aggregate: mean or interquartile mean.
    :param overlap: n_test/n_train of units that are splits of one data set; 0 for independent units.
    :returns: the mean with its intervals, in the unit of `units`, and p of the two-sided t test of a zero mean.
    :raises TesseralError: if there is no unit.
    """
    values = np.asarray(units, dtype=float)
    if values.size == 0:
        raise TesseralError("expected at least one value to average, got none")
    kept = values.size - (2 * int(_CUT * values.size) if aggregate == "iqm" else 0)
    mean = float(aggregated(values, aggregate))
    if kept < FEWEST_UNITS:
        return Estimate(mean)
    if aggregate == "iqm":
        winsorised = np.asarray(scipy.stats.mstats.winsorize(values, limits=(_CUT, _CUT)))
        error = float(winsorised.std(ddof=1)) * sqrt((values.size + 1) / (kept * (kept - 1)))
    else:
        error = float(values.std(ddof=1)) / sqrt(values.size)
    if np.ptp(values) == 0.0:  # equal units have no t statistic: the interval is the mean itself
        error = 0.0
    wider = error * sqrt(1 + values.size * overlap)
    new, here = (_bounds(mean, width, kept - 1) for width in (wider, error))
    return Estimate(mean, new.low, new.high, new.p, here)


def _bounds(mean: float, error: float, freedom: int) -> Bounds:
    """Student's interval about a mean.

    :param error: standard error of the mean.
    :param freedom: degrees of freedom.
    """
    if error == 0.0:
        return Bounds(mean, mean, 1.0 if mean == 0.0 else 0.0)
    # Quantile and distribution of Student's t; those of `scipy.stats` take a hundred times as long a call.
    half = float(scipy.special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return Bounds(mean - half, mean + half, float(2 * scipy.special.stdtr(freedom, -abs(mean) / error)))


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
    """An estimate with the interval that is `shown`, such as `0.302 % [0.283, 0.321]`, or `2.1 [1.4, 2.9]·10⁻⁵`.

    :param signed: whether a positive value gets a plus sign, for changes.
    """
    low, high = estimate.shown
    return _text(estimate.value, low, high, unit, signed)


def interval_here(estimate: Estimate, unit: str = "", *, signed: bool = False) -> str:
    """An estimate with its interval for these data alone, written as `interval` writes."""
    low, high = (estimate.here.low, estimate.here.high) if estimate.here else (None, None)
    return _text(estimate.value, low, high, unit, signed)


def intervals(estimate: Estimate, here: str, unit: str = "", *, signed: bool = False) -> str:
    """An estimate with both of its intervals, each named; one where they are equal.

    Such as `47.0 % [41.0, 52.0] for new data of the same kind, [44.0, 50.0] for these data`.

    :param here: what the second interval holds for; see `Sampling.here`.
    """
    if estimate.low is None and estimate.here is not None:
        return f"{interval_here(estimate, unit, signed=signed)} {here}"
    measured, bounds = interval(estimate, unit, signed=signed), bounds_here(estimate, signed=signed)
    if not estimate.differs_here:
        return measured
    return f"{measured} for new data of the same kind, {bounds} {here}"


def bounds_here(estimate: Estimate, *, signed: bool = False) -> str:
    """The interval for these data alone, such as `[0.283, 0.321]`, with the decimals of `interval`; empty without one.

    :param signed: whether positive bounds get a plus sign.
    """
    if estimate.here is None:
        return ""
    if estimate.low is None or estimate.high is None:
        text = interval_here(estimate, signed=signed)
        return text[text.index("[") :]
    largest = max(abs(bound) for bound in (estimate.value, estimate.low, estimate.high))
    power = _power(largest)
    scale = 10.0**power
    places = decimals(estimate.value / scale, estimate.low / scale, estimate.high / scale)
    bounds = (number(bound / scale, places, signed=signed) for bound in (estimate.here.low, estimate.here.high))
    return f"[{', '.join(bounds)}]{_times(power)}"


def _text(value: float, low: float | None, high: float | None, unit: str, signed: bool) -> str:
    power = _power(max(abs(v) for v in (value, low, high) if v is not None))
    scale = 10.0**power
    bounds = () if low is None or high is None else (low / scale, high / scale)
    places = decimals(value / scale, *bounds)
    head = number(value / scale, places, signed=signed)
    shown = f" [{', '.join(number(bound, places, signed=signed) for bound in bounds)}]" if bounds else ""
    if power:
        return f"{head}{shown}{_times(power)} {unit}".rstrip()
    return f"{head} {unit}".rstrip() + shown


def _power(largest: float) -> int:
    """The power of ten that small numbers are written with; 0 for others."""
    return floor(log10(largest)) if 0 < largest < SMALL else 0


def _times(power: int) -> str:
    return f"·10{str(power).translate(SUPERSCRIPT)}" if power else ""


def p_value(p: float) -> str:
    """A p-value as text, such as `0.012` or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def signed_percent(share: float) -> str:
    """A share in percent without its unit, such as `+1.20`, `−0.35`, `0.00`."""
    text = f"{100 * share:+.2f}"
    return text.replace("-", _MINUS) if float(text) else "0.00"
