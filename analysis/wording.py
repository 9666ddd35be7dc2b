"""Numbers and metrics in words: how many digits an interval deserves, and what a metric is called."""

from dataclasses import dataclass
from math import floor, log10

from tesseral.analysis.statistics import Estimate


@dataclass(frozen=True)
class Metric:
    """A metric of a split, as a reader meets it."""

    name: str
    """Such as 'density error ε'."""
    split: str
    """train, validation or test."""
    unit: str
    """Such as '%'; empty if the metric is dimensionless."""

    @property
    def noun(self) -> str:
        """For the middle of a sentence: 'the density error ε'."""
        return f"the {self.name}"

    @property
    def title(self) -> str:
        """For a heading: 'Density error ε (test)'."""
        return f"{self.name[:1].upper()}{self.name[1:]} ({self.split})"

    @property
    def axis(self) -> str:
        """For an axis: 'density error ε, %'."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


_NAMES = {
    "epsilon": ("density error ε", "%"),
    "l2_error": ("L² error of the density", "%"),
    "block_error": ("error of the coefficients", ""),
    "electrons": ("error of the electron count", "e"),
    "loss": ("loss", ""),
}
_MINUS = "\N{MINUS SIGN}"


def describe(metric: str) -> Metric:
    """What a metric of a split, such as `test.epsilon`, is called; an unknown one keeps its name."""
    split, _, name = metric.partition(".")
    words, unit = _NAMES.get(name, (name, ""))
    return Metric(words, split, unit)


def decimals(*values: float | None, digits: int = 2) -> int:
    """Decimals at which the spread of `values` (an estimate with its bounds) has `digits` significant digits.

    A single value is its own spread, with one digit more.
    """
    known = [value for value in values if value is not None]
    spread = (max(known) - min(known)) / 2
    if spread == 0:
        spread, digits = abs(known[0]), 3
    return 0 if spread == 0 else max(0, digits - 1 - floor(log10(spread)))


def number(value: float, places: int) -> str:
    """A number at fixed decimals, with thousands separated; one that would need more than six, in powers of ten."""
    text = f"{value:.1e}" if places > 6 else f"{value:,.{places}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")  # no −0
    return text.replace("-", _MINUS)


def interval(estimate: Estimate, unit: str = "", *, flip: bool = False) -> str:
    """Such as `0.302 % [0.283, 0.321]`; without bounds the value alone. `flip` negates, for 'lower by'."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if flip:
        value, low, high = -value, None if high is None else -high, None if low is None else -low
    places = decimals(value, low, high)
    text = f"{number(value, places)} {unit}".rstrip()
    if low is None or high is None:
        return text
    return f"{text} [{number(low, places)}, {number(high, places)}]"


def p_value(p: float) -> str:
    """Such as `p = 0.012` or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def duration(seconds: float) -> str:
    """Such as `4.2 s`, `75 s`, `12 min`, `3.4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def count(n: int, noun: str) -> str:
    """Such as `1 trial`, `8 trials`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
