"""Numbers and metrics in words: how many digits an interval deserves, and what a metric is called."""

import re
from dataclasses import dataclass, replace
from math import floor, log10

from tesseral.analysis.terms.estimate import Estimate
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.study.configuration.metrics import METRICS


@dataclass(frozen=True)
class MetricLabel:
    """A metric of a split, as a reader meets it."""

    name: str
    """Such as 'density error ε', 'relative error'."""
    split: str
    """train, validation or test."""
    unit: str
    """Such as '%'; empty if the metric is dimensionless, or of targets that have different units."""
    of: str = ""
    """What is predicted, where the name does not say so: 'energy'."""
    share: str = ""
    """What a percentage is a share of, where its name does not say so."""

    @property
    def noun(self) -> str:
        """For the middle of a sentence: 'the density error ε', 'the relative error of the energy'."""
        return f"the {self.name}{self._of_target}"

    @property
    def title(self) -> str:
        """For a heading: 'Density error ε (test)'."""
        return f"{self.name[:1].upper()}{self.name[1:]}{self._of_target} ({self.split})"

    @property
    def axis(self) -> str:
        """For an axis: 'density error ε, %', 'relative error, % of the target's spread'."""
        return f"{self.name}, {self.unit}{self._of_share}" if self.unit else self.name

    @property
    def heading(self) -> str:
        """For a column of errors: 'error, %', 'error, % of spread'."""
        return f"error, {self.unit}{' of spread' if self.share else ''}" if self.unit else "error"

    @property
    def _of_target(self) -> str:
        return f" of the {self.of}" if self.of else ""

    @property
    def _of_share(self) -> str:
        return f" of {self.share}" if self.share else ""

    def told(self, estimate: Estimate) -> str:
        """Such as '3.2 % [2.9, 3.5] of the target’s spread'."""
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
    """What a metric of a split, such as `test.epsilon`, is called; an unknown one keeps its name and has no unit.

    :param target: whose metric it is; None where it is that of several.
    """
    split, _, name = metric.partition(".")
    declared = METRICS.get(name)
    unit = target.unit if target is not None and name == "error" else declared.unit if declared else ""
    of = target.name if target is not None and name in _OF_TARGET else ""
    share = "the target’s spread" if name == "relative_error" else ""
    return MetricLabel(_WORDS.get(name, name), split, typeset(unit), of, share)


def typeset(unit: str) -> str:
    """With raised powers: 'e bohr^2' becomes 'e bohr²'."""
    return re.sub(r"\^(-?\d+)", lambda power: power[1].translate(_SUPERSCRIPT), unit)


SMALL = 1e-3
"""Below it numbers are written in powers of ten."""
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def decimals(*values: float | None) -> int:
    """Decimals that show half the spread of `values` (an estimate and its bounds) to two significant digits.

    But at most four digits of the largest value, and three of a value that stands alone.
    """
    known = [value for value in values if value is not None]
    spread, largest = (max(known) - min(known)) / 2, max(abs(value) for value in known)
    if largest == 0:
        return 0
    wanted = 1 - floor(log10(spread)) if spread else 2 - floor(log10(largest))
    return max(0, min(wanted, 3 - floor(log10(largest))))


def number(value: float, places: int, *, signed: bool = False) -> str:
    """A number at fixed decimals, with thousands separated; one that would need more than six, in powers of ten."""
    text = f"{value:{'+' if signed else ''},.{places}f}" if places <= 6 else f"{value:{'+' if signed else ''}.1e}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("+-")  # no −0
    return text.replace("-", _MINUS)


def interval(estimate: Estimate, unit: str = "", *, signed: bool = False) -> str:
    """Such as `0.302 % [0.283, 0.321]`, or `2.1 [1.4, 2.9]·10⁻⁵` where all are small.

    Without bounds the value alone. `signed` writes the plus of a change.
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
    """Such as `0.012` or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def signed_percent(share: float) -> str:
    """A share in percent, the unit left out: such as `+1.20`, `−0.35`, `0.00`."""
    text = f"{100 * share:+.2f}"
    return text.replace("-", _MINUS) if float(text) else "0.00"
