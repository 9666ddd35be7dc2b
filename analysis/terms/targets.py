"""Names of what arms predict, and groups of arms that are compared with one another.

Errors of different targets are not comparable, so arms are compared within a target only, and within each combination
of levels of the factors in `study.within`. The baseline of a group has its levels of these factors, and the study's
baseline levels of all others.
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
    """What an arm predicts, as a report names it."""

    quantity: str = "density"
    """Value of `target.quantity`."""
    chosen: tuple[int, ...] | None = None
    """Orders l of the density that are predicted; None for all, and for other targets."""
    unit: str = ""
    """Unit of its metric `error`; empty if there is none or it is unknown."""
    orders: tuple[int, ...] = ()
    """Orders l of the target, ascending; empty if the auxiliary basis decides, or if unknown."""

    @property
    def name(self) -> str:
        """Inside a sentence, after 'the': 'energy', 'density of l = 0, 1', 'label strain'."""
        if self.quantity.startswith(LABEL):
            return f"label {self.quantity.removeprefix(LABEL)}"
        name = _NAMES.get(self.quantity, self.quantity)
        return name if self.chosen is None else f"{name} of l = {', '.join(map(str, self.chosen))}"

    @property
    def title(self) -> str:
        """In a heading."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def own_metric(self) -> str:
        """The metric in the target's own measure: ε for a density, else `error`, in the target's unit."""
        return "epsilon" if self.quantity == "density" else "error"


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


def label_target(setting: Setting, labels: Mapping[str, Mapping[str, Any]]) -> TargetLabel:
    """Name the target of a configuration.

    :param setting: the section `[target]` of the configuration.
    :param labels: name → `irreps` and `unit` of each label that the reference data declare.
    """
    declared = QUANTITIES.get(setting.quantity)
    unit, irreps = unit_of("error", setting.quantity), declared.irreps if declared else None
    if setting.quantity == "density":
        return TargetLabel(setting.quantity, setting.orders, "", setting.orders or ())
    label = labels.get(setting.quantity.removeprefix(LABEL)) if declared is None else None
    if label is not None:
        unit, irreps = str(label["unit"]), parse_irreps(str(label["irreps"]))
    return TargetLabel(setting.quantity, None, unit, tuple(sorted({term.l for term in irreps or ()})))
