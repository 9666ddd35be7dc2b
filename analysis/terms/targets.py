"""What the arms of a study predict, as a report names it, and which arm each of them is compared with.

Errors of different targets have different spreads and mean different things, so arms are compared within a target
alone, and within each combination of levels of the factors that the study compares apart: with the arm that has the
same levels of all these, and the baseline's levels of all others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tesseral.study.configuration.metrics import unit_of
from tesseral.study.configuration.quantities import LABEL, QUANTITIES
from tesseral.study.configuration.target import Target as Setting
from tesseral.study.parsing.irreps import parse_irreps

_NAMES = {
    "forces_direct": "direct forces",
    "dipole_sum": "dipole as a plain sum",
    "dipole_magnitude": "dipole's length",
    "homo": "HOMO energy",
    "lumo": "LUMO energy",
    "gap": "HOMO–LUMO gap",
    "r2": "extent ⟨r²⟩",
}


@dataclass(frozen=True)
class TargetLabel:
    """What an arm predicts."""

    quantity: str = "density"
    """As `target.quantity`."""
    chosen: tuple[int, ...] | None = None
    """Of the density, the orders l that are predicted; None for all."""
    unit: str = ""
    """Of its metric `error`; empty where it has none, or where it is not known."""
    orders: tuple[int, ...] = ()
    """Orders l of what is predicted, ascending; empty where the auxiliary basis decides, or where not known."""

    @property
    def name(self) -> str:
        """For the middle of a sentence, after 'the': 'energy', 'density of l = 0, 1', 'label strain'."""
        if self.quantity.startswith(LABEL):
            return f"label {self.quantity.removeprefix(LABEL)}"
        name = _NAMES.get(self.quantity, self.quantity)
        return name if self.chosen is None else f"{name} of l = {', '.join(map(str, self.chosen))}"

    @property
    def title(self) -> str:
        """For a heading."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def own_metric(self) -> str:
        """The error in the target's own measure: ε of a density, else `error`, which is in the target's unit."""
        return "epsilon" if self.quantity == "density" else "error"


@dataclass(frozen=True)
class Group:
    """Arms that are compared with one another: they share a target, and levels of the factors compared apart."""

    target: TargetLabel = TargetLabel()
    levels: tuple[tuple[str, str], ...] = ()
    """Short name of the factor and level as text."""

    @property
    def name(self) -> str:
        """For the middle of a sentence, after 'the': 'energy at epochs=30'."""
        return self.target.name + (f" at {self._told}" if self.levels else "")

    @property
    def title(self) -> str:
        """For a heading."""
        return self.target.title + (f": {self._told}" if self.levels else "")

    @property
    def _told(self) -> str:
        return ", ".join(f"{name}={level}" for name, level in self.levels)


def label_target(setting: Setting, labels: Mapping[str, Mapping[str, Any]]) -> TargetLabel:
    """The target of a configuration.

    :param labels: those that the reference data declare, by name, each with `irreps` and `unit`.
    """
    declared = QUANTITIES.get(setting.quantity)
    unit, irreps = unit_of("error", setting.quantity), declared.irreps if declared else None
    if setting.quantity == "density":
        return TargetLabel(setting.quantity, setting.orders, "", setting.orders or ())
    label = labels.get(setting.quantity.removeprefix(LABEL)) if declared is None else None
    if label is not None:
        unit, irreps = str(label["unit"]), parse_irreps(str(label["irreps"]))
    return TargetLabel(setting.quantity, None, unit, tuple(sorted({term.l for term in irreps or ()})))
