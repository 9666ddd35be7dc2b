"""Units of imported labels, and their size in the unit of a column of reference data."""

from collections.abc import Iterable
from difflib import get_close_matches

from tesseral.study.constants import BOHR
from tesseral.study.errors import TesseralError

HARTREE = 27.211386245988
"""eV in one hartree (CODATA 2018)."""
KCAL = 627.5094740631
"""kcal/mol in one hartree."""
KILOJOULE = 2625.4996394799
"""kJ/mol in one hartree."""
GIGAPASCAL = 160.2176634
"""GPa in one eV/Å³: 1e21 times the elementary charge in C."""
DEBYE = 0.39343027
"""e bohr in one debye: 1e-21 / (299792458 · 1.602176634e-19 · 5.29177210903e-11)."""

_LENGTH = {"bohr": 1.0, "angstrom": 1 / BOHR}
_ENERGY = {
    "hartree": 1.0,
    "eV": 1 / HARTREE,
    "meV": 1e-3 / HARTREE,
    "rydberg": 0.5,
    "kcal/mol": 1 / KCAL,
    "kJ/mol": 1 / KILOJOULE,
}
_UNITS: dict[str, dict[str, float]] = {
    "hartree": _ENERGY,
    "hartree/bohr": {f"{e}/{length}": a / b for e, a in _ENERGY.items() for length, b in _LENGTH.items()},
    "hartree/bohr^3": {f"{e}/{length}^3": a / b**3 for e, a in _ENERGY.items() for length, b in _LENGTH.items()}
    | {name: size * BOHR**3 / (GIGAPASCAL * HARTREE) for name, size in (("GPa", 1.0), ("kbar", 0.1))},
    "e": {"e": 1.0},
    "e bohr": {f"e {name}": size for name, size in _LENGTH.items()} | {"debye": DEBYE},
    "e bohr^2": {f"e {name}^2": size**2 for name, size in _LENGTH.items()} | {"debye angstrom": DEBYE / BOHR},
    "e bohr^3": {f"e {name}^3": size**3 for name, size in _LENGTH.items()} | {"debye angstrom^2": DEBYE / BOHR**2},
    "bohr^2": {f"{name}^2": size**2 for name, size in _LENGTH.items()},
    "bohr^3": {f"{name}^3": size**3 for name, size in _LENGTH.items()},
}
"""Unit of a column → name of another unit → its size in the column's unit."""


def size_of(unit: str, within: str) -> float:
    """Return the size of `unit` in the unit `within`.

    Upper and lower case are the same, `e*bohr` is `e bohr`, `Å` is `angstrom`, and `au` is `within` itself.

    >>> size_of("Rydberg", "hartree")
    0.5

    :param unit: name of a unit, as a mapping writes it.
    :param within: unit of a column of reference data.
    :raises TesseralError: if the unit is unknown; the sentence lists the valid ones.
    """
    known = _UNITS[within] | {"au": 1.0}
    for name, size in known.items():
        if _plain(name) == _plain(unit):
            return size
    raise TesseralError(
        f"expected a unit that can be turned into {within}, got {unit!r}; {nearest_unit(unit, known)}valid are "
        f"{', '.join(known)}"
    )


def unit_name(unit: str, within: str) -> str:
    """Return a unit as tesseral writes it; `within` for `au`.

    >>> unit_name("EV/Å", "hartree/bohr")
    'eV/angstrom'

    :param unit: name of a unit, as a mapping writes it.
    :param within: unit of a column of reference data.
    :raises TesseralError: as `size_of`.
    """
    if _plain(unit) == "au":
        return within
    size_of(unit, within)
    return next(name for name in _UNITS[within] if _plain(name) == _plain(unit))


def nearest_unit(unit: str, valid: Iterable[str]) -> str:
    """Return `did you mean 'eV/angstrom'? `, or nothing where no valid unit is near.

    :param unit: that is none of the valid ones. What begins with it is nearest.
    :param valid: names of units.
    """
    names = {_plain(name): name for name in valid}
    begun = [name for name in names if name.startswith(_plain(unit) or " ")]
    close = begun or get_close_matches(_plain(unit), names, n=1, cutoff=0.65)
    return f"did you mean {names[close[0]]!r}? " if close else ""


def _plain(unit: str) -> str:
    return " ".join(unit.lower().replace("*", " ").replace("å", "angstrom").split())
