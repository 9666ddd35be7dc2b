"""Names of what arms predict, and groups of arms that are compared with one another.

Errors of different targets are not comparable, so arms are compared within a target only, and within each combination
of levels of the factors in `study.within`. The baseline of a group has its levels of these factors, and the study's
baseline levels of all others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tesseral.analysis.terms.shown_units import CONVERTED, ShownUnits
from tesseral.study.configuration.metrics import Metric
from tesseral.study.configuration.quantities import QUANTITIES, Label, Quantity, quantity_of
from tesseral.study.configuration.target import Target


@dataclass(frozen=True)
class TargetLabel:
    """What an arm predicts, as a report names it."""

    quantity: Quantity = QUANTITIES["density"]
    chosen: tuple[int, ...] | None = None
    """Orders l of the density that are predicted; None for all, and for other targets."""
    units: ShownUnits = field(default_factory=ShownUnits)
    """Units in which its errors stand in the tables at hand."""

    @property
    def name(self) -> str:
        """Inside a sentence, after 'the': 'energy', 'density of l = 0, 1', 'label strain'."""
        if self.chosen is None:
            return self.quantity.phrase
        return f"{self.quantity.phrase} of l = {', '.join(map(str, self.chosen))}"

    @property
    def title(self) -> str:
        """In a heading."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def unit(self) -> str:
        """Unit of its metric `error`; empty if there is none or it is unknown."""
        return self.units.shown(self.quantity.unit) if "error" in self.quantity.metrics else ""

    def unit_of(self, metric: Metric) -> str:
        """The unit of a metric's values for this target; empty if dimensionless, or if the unit is not known.

        :param metric: that the target has.
        """
        unit = metric.unit_for(self.quantity)
        return self.units.shown(unit) if metric.name in CONVERTED else unit

    @property
    def orders(self) -> tuple[int, ...]:
        """Orders l of the target, ascending; empty if the auxiliary basis decides, or if unknown."""
        return self.chosen or tuple(sorted({term.l for term in self.quantity.irreps or ()}))

    def to_dict(self) -> dict[str, Any]:
        """As in `report --json`."""
        return {"quantity": self.quantity.name, "chosen": self.chosen, "unit": self.unit, "orders": self.orders}


@dataclass(frozen=True)
class Group:
    """Arms that are compared with one another: they share a target, and the levels of the factors in `within`."""

    target: TargetLabel = TargetLabel()
    levels: tuple[tuple[str, str], ...] = ()
    """Short name of each factor and its level as text."""

    @property
    def name(self) -> str:
        """Inside a sentence, after 'the': 'energy at epochs=30'."""
        return self.target.name + (f" at {self._levels_text}" if self.levels else "")

    @property
    def title(self) -> str:
        """In a heading."""
        return self.target.title + (f": {self._levels_text}" if self.levels else "")

    @property
    def _levels_text(self) -> str:
        return ", ".join(f"{name}={level}" for name, level in self.levels)


def label_target(setting: Target, labels: Mapping[str, Label]) -> TargetLabel:
    """Name the target of a configuration.

    :param setting: the section `[target]` of the configuration.
    :param labels: name → label that the reference data declare; empty if the data are not available.
    """
    return TargetLabel(quantity_of(setting.quantity, labels), setting.orders)
