"""Units that labels come in, and how many of a column's unit they are."""

from tesseral.study.constants import BOHR
from tesseral.study.errors import TesseralError

HARTREE = 27.211386245988
"""eV in one hartree (CODATA 2018)."""
KCAL = 627.5094740631
"""kcal/mol in one hartree."""
KILOJOULE = 2625.4996394799
"""kJ/mol in one hartree."""
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
    "e": {"e": 1.0},
    "e bohr": {f"e {name}": size for name, size in _LENGTH.items()} | {"debye": DEBYE},
    "e bohr^2": {f"e {name}^2": size**2 for name, size in _LENGTH.items()} | {"debye angstrom": DEBYE / BOHR},
    "e bohr^3": {f"e {name}^3": size**3 for name, size in _LENGTH.items()} | {"debye angstrom^2": DEBYE / BOHR**2},
    "bohr^2": {f"{name}^2": size**2 for name, size in _LENGTH.items()},
    "bohr^3": {f"{name}^3": size**3 for name, size in _LENGTH.items()},
}
"""Unit of a column → name of a unit → how many of the column's unit it is."""


def size_of(unit: str, within: str) -> float:
    """How many of the unit `within`, a column's own, one `unit` is; `au` is `within` itself.

    Upper case does not count, 'e*bohr' is 'e bohr', and 'Å' is 'angstrom'.

    >>> size_of("Rydberg", "hartree")
    0.5

    :raises TesseralError: if the unit is not known, naming those that are.
    """
    known = _UNITS[within] | {"au": 1.0}
    for name, size in known.items():
        if _plain(name) == _plain(unit):
            return size
    raise TesseralError(f"expected a unit that can be turned into {within}, got {unit!r}; valid are {', '.join(known)}")


def _plain(unit: str) -> str:
    return " ".join(unit.lower().replace("*", " ").replace("å", "angstrom").split())
