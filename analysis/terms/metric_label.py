"""The name of a metric in words, with its unit and its definition."""

import re
from dataclasses import dataclass

from tesseral.analysis.terms.estimate import SUPERSCRIPT, Estimate, interval
from tesseral.analysis.terms.targets import TargetLabel
from tesseral.study.configuration.configuration import SPLITS
from tesseral.study.configuration.metrics import METRICS


@dataclass(frozen=True)
class MetricLabel:
    """A metric of a split in words."""

    name: str
    """Such as 'density error ε', 'relative error'."""
    split: str
    """One of train, validation, test; or the name of a test set."""
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
        return f"the {self.name}{self._of_target}{'' if self.split in SPLITS else f' on {self.split}'}"

    @property
    def where(self) -> str:
        """What it is measured on, such as 'the test split', 'the test set md_600K'."""
        return f"the {self.split} split" if self.split in SPLITS else f"the test set {self.split}"

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
    "component_mae": "mean absolute error of the components",
    "component_rmse": "root mean square error of the components",
    "energy_error": "error of the energies",
    "energy_error_per_atom": "error of the energies per atom",
    "stress_error": "error of the stress",
    "stress_component_mae": "mean absolute error of the stress’s components",
    "dipole_error": "error of the dipole",
    "quadrupole_error": "error of the quadrupole",
    "potential_error": "error of the potential",
    "block_epsilon": "density error ε of the parts of order l",
}
_OF_TARGET = ("relative_error", "error", "component_mae", "component_rmse")


def describe(metric: str, target: TargetLabel | None = None) -> MetricLabel:
    """Describe a metric of a split, such as `test.epsilon`; an unknown one keeps its name and has no unit.

    :param target: the target that is measured; None for several.
    """
    split, _, name = metric.partition(".")
    declared = METRICS.get(name)
    unit = "" if declared is None else declared.unit or ""
    if declared is not None and target is not None:
        unit = target.unit_of(declared)
    of = target.name if target is not None and name in _OF_TARGET else ""
    share = "the target’s spread" if declared is not None and declared.of_spread else ""
    definition = declared.description if declared else ""
    return MetricLabel(_WORDS.get(name, name), split, typeset(unit), of, share, definition)


def error_cell(metric: str, estimate: Estimate | None, target: TargetLabel, heading: MetricLabel) -> str:
    """An error in a table, with its unit where the targets of the column have different ones; `–` if there is none.

    :param metric: of a split.
    :param estimate: of the error.
    :param target: that the error is of.
    :param heading: of the column.
    """
    if estimate is None:
        return "–"
    return interval(estimate) if heading.unit else describe(metric, target).with_unit(estimate)


def typeset(unit: str) -> str:
    """A unit with raised powers and signs: 'e bohr^2' becomes 'e bohr²', 'eV/angstrom' 'eV/Å'."""
    raised = re.sub(r"\^(-?\d+)", lambda power: power[1].translate(SUPERSCRIPT), unit)
    return raised.replace("angstrom", "Å")
