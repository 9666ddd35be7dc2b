"""The units in which errors are shown: those of reference data, or those of the field that reads them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self, get_args, get_type_hints

from tesseral.study.design.study_file import Units
from tesseral.study.errors import TesseralError
from tesseral.study.parsing.units import nearest_unit, size_of, unit_name

ATOMIC = "atomic"
"""Name that stands for the units of reference data."""
RECORDED = {"energy": "hartree", "forces": "hartree/bohr", "dipole": "e bohr", "stress": "hartree/bohr^3"}
"""Field of `ShownUnits` → unit of reference data."""
CONVERTED = (
    "error",
    "component_mae",
    "component_rmse",
    "energy_error",
    "energy_error_per_atom",
    "stress_error",
    "stress_component_mae",
)
"""Metrics whose values are converted."""
_MANY = {"energy": "energies", "forces": "forces", "dipole": "dipoles", "stress": "stresses"}
_SMALLER = {"eV/angstrom": "meV/angstrom", "eV/angstrom^3": "meV/angstrom^3"}
"""Unit of imported labels → unit of their errors."""
VALID = {
    kind: tuple(unit for option in get_args(get_type_hints(Units)[kind]) for unit in get_args(option))
    for kind in RECORDED
}
"""Field of `[units]` → units that it may be."""


@dataclass(frozen=True)
class ShownUnits:
    """A unit for each kind of quantity that has several in use."""

    energy: str = RECORDED["energy"]
    forces: str = RECORDED["forces"]
    dipole: str = RECORDED["dipole"]
    stress: str = RECORDED["stress"]

    @classmethod
    def chosen(cls, settings: Units, imported: Mapping[str, str]) -> Self:
        """The units of a study: those of its file, else those that its data were imported in.

        Errors of forces are hundredths of an eV/Å, and stand in meV/Å; those of stresses stand in meV/Å³.

        :param settings: `[units]` of the study file.
        :param imported: column of reference data → unit of the label that filled it.
        """
        units = cls()
        for kind, recorded in RECORDED.items():
            unit = getattr(settings, kind)
            if unit is None and kind in imported:
                unit = unit_name(imported[kind], recorded)
                unit = _SMALLER.get(unit, unit)
            if unit in VALID[kind]:
                units = replace(units, **{kind: unit})
        return units

    def asked(self, names: Sequence[str], recorded: Collection[str]) -> Self:
        """These units with others in the place of some.

        :param names: of units, such as `eV` or `debye`; `atomic` stands for those of reference data.
        :param recorded: units in which the errors to show are recorded.
        :raises TesseralError: if a name is none of a valid unit, or of one that no error can have, or two are of one
            kind of quantity.
        """
        units = self
        given: dict[str, str] = {}  # kind → its unit
        for name in names:
            if name == ATOMIC:
                units = type(self)()
                continue
            found = [(kind, unit) for kind, valid in VALID.items() for unit in valid if _same(name, unit, kind)]
            if not found:
                valid = [*(unit for units in VALID.values() for unit in units), ATOMIC]
                hint = nearest_unit(name, valid)
                raise TesseralError(f"expected units, got {name!r}; {hint}valid are {', '.join(valid)}")
            if not any(RECORDED[kind] in recorded for kind, _ in found):
                kinds = [_MANY[kind] for kind, unit in RECORDED.items() if unit in recorded]
                what = f"units of {' or '.join(kinds)}" if kinds else "none: no error here has a unit that can change"
                raise TesseralError(f"expected {what}, got {name}, a unit of {_MANY[found[0][0]]}")
            for kind, unit in found:
                if given.setdefault(kind, unit) != unit:
                    raise TesseralError(f"expected one unit for {_MANY[kind]}, got {given[kind]} and {unit}")
            units = replace(units, **dict(found))
        return units

    def shown(self, unit: str) -> str:
        """The unit in which values of a unit of reference data are shown.

        :param unit: of reference data.
        """
        return next((getattr(self, kind) for kind, recorded in RECORDED.items() if recorded == unit), unit)

    def factor(self, unit: str) -> float:
        """What values in a unit of reference data are multiplied by.

        :param unit: of reference data.
        """
        shown = self.shown(unit)
        return 1.0 if shown == unit else 1 / size_of(shown, unit)


def _same(name: str, unit: str, kind: str) -> bool:
    try:
        return unit_name(name, RECORDED[kind]) == unit
    except TesseralError:
        return False
