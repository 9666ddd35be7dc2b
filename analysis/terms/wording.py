"""Numbers and metrics in words: the digits that an interval supports, and the names of metrics."""

import re
from dataclasses import dataclass, replace
from math import floor, log10

from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.study.configuration.metrics import METRICS


@dataclass(frozen=True)
class MetricLabel:
    """A metric of a split in words."""

    name: str
    """Such as 'density error ε', 'relative error'."""
    split: str
    """One of train, validation, test."""
    unit: str
    """Such as '%'; empty if the metric is dimensionless or its targets have different units."""
    of: str = ""
    """The target, if the name does not say it, such as 'energy'."""
    share: str = ""
    """What a percentage is a share of, if the name does not say it."""
    definition: str = ""
    """What is measured, with its formula; empty if it is unknown."""

    @property
    def noun(self) -> str:
        """Inside a sentence, such as 'the density error ε', 'the relative error of the energy'."""
        return f"the {self.name}{self._of_target}"

    @property
    def title(self) -> str:
        """In a heading, such as 'Density error ε (test)'."""
        return f"{self.name[:1].upper()}{self.name[1:]}{self._of_target} ({self.split})"

    @property
    def axis(self) -> str:
        """On an axis, such as 'density error ε, %', 'relative error, % of the target's spread'."""
        return f"{self.name}, {self.unit}{self._of_share}" if self.unit else self.name

    @property
    def heading(self) -> str:
        """At the head of a column, such as 'error, %', 'error, % of spread'."""
        return f"error, {self.unit}{' of spread' if self.share else ''}" if self.unit else "error"

    @property
    def _of_target(self) -> str:
        return f" of the {self.of}" if self.of else ""

    @property
    def _of_share(self) -> str:
        return f" of {self.share}" if self.share else ""

    def with_unit(self, estimate: Estimate) -> str:
        """An estimate of this metric, such as '3.2 % [2.9, 3.5] of the target’s spread'."""
        return interval(estimate, self.unit) + self._of_share


_WORDS = {
    "epsilon": "density error ε",
    "l2_error": "L² error of the density",
    "block_error": "error of the coefficients",
    "mse": "mean squared error",
    "electrons": "error of the electron count",
    "relative_error": "relative error",
    "error": "error",
    "energy_error": "error of the energies",
    "block_epsilon": "density error ε of the parts of order l",
}
_OF_TARGET = ("relative_error", "error")
_MINUS = "\N{MINUS SIGN}"


def describe(metric: str, target: TargetLabel | None = None) -> MetricLabel:
    """Describe a metric of a split, such as `test.epsilon`; an unknown one keeps its name and has no unit.

    :param target: the target that is measured; None for several.
    """
    split, _, name = metric.partition(".")
    declared = METRICS.get(name)
    unit = "" if declared is None else declared.unit or ""
    if declared is not None and target is not None:
        unit = declared.unit_for(target.quantity)
    of = target.name if target is not None and name in _OF_TARGET else ""
    share = "the target’s spread" if declared is not None and declared.of_spread else ""
    definition = declared.description if declared else ""
    return MetricLabel(_WORDS.get(name, name), split, typeset(unit), of, share, definition)


def typeset(unit: str) -> str:
    """A unit with raised powers: 'e bohr^2' becomes 'e bohr²'."""
    return re.sub(r"\^(-?\d+)", lambda power: power[1].translate(_SUPERSCRIPT), unit)


SMALL = 1e-3
"""Smaller numbers are written with a power of ten."""
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def decimals(*values: float | None) -> int:
    """Number of decimals that show half the width of an interval to two significant digits.

    At most four digits of the largest value are shown, and three of a value without an interval.

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
        return f"{interval(scaled, signed=signed)}·10{str(power).translate(_SUPERSCRIPT)} {unit}".rstrip()
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
