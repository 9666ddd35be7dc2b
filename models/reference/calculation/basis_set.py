"""An element's basis set by name, from PySCF or else from the Basis Set Exchange."""

import re
import warnings
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from pyscf import gto
from pyscf.data.elements import ELEMENTS
from pyscf.gto.basis.bse import basis_set_exchange

from tesseral.models.reference.calculation.qm9_basis import qm9_basis
from tesseral.study.errors import StudyFileError
from tesseral.study.recipe.method import QM9_BASIS, plain

_LOOKUP_ERRORS = (RuntimeError, LookupError, OSError, ValueError, TypeError, AttributeError, AssertionError)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 +*(),._'-]*")
_LAST_ELEMENT = 86  # radon; heavier elements have no all-electron basis of common use


def load_basis(name: str, symbol: str, path: str) -> list[Any]:
    """An element's basis in PySCF's format, [[l, [exponent, coefficient, …], …], …].

    :param name: such as `def2-SVP`.
    :param symbol: chemical symbol.
    :param path: dotted path of the recipe's key that holds the name, for error messages.
    :raises StudyFileError: if it is not a name, or neither PySCF nor the Basis Set Exchange has it for this element.
    """
    # PySCF also accepts a basis as text or as a file, and evaluates it as Python. Only names may reach it.
    if not _NAME.fullmatch(name) or Path(name).exists():
        raise StudyFileError(
            path, f"expected the name of a basis, such as def2-SVP, not its text or a file, got {name[:60]!r}"
        )
    loaded = _load(name, symbol)
    if loaded:
        return deepcopy(loaded)  # PySCF changes lists that it is given in place
    present = [number for number in range(1, _LAST_ELEMENT + 1) if _load(name, ELEMENTS[number])]
    if present:
        raise StudyFileError(path, f"expected a basis that has {symbol}, got {name!r}, which has {_runs(present)}")
    valid = "def2-universal-jfit, def2-universal-jkfit" if "auxiliary" in path else "STO-3G, def2-SVP, def2-TZVP"
    raise StudyFileError(
        path,
        f"expected a basis that PySCF or the Basis Set Exchange has, got {name!r}; valid are {valid} and others",
    )


def load_orbital_basis(name: str, symbol: str) -> list[Any]:
    """The orbital basis `method.basis` of an element, which must describe all of its electrons.

    :param name: name of a basis in PySCF or the Basis Set Exchange.
    :param symbol: of the element, such as `O`.
    :raises StudyFileError: as `load_basis`; if the basis comes with a core potential, since the density of the replaced
        electrons would be missing.
    """
    loaded = load_basis(name, symbol, "method.basis")
    if hidden := _core_electrons(name, symbol):
        raise StudyFileError(
            "method.basis",
            f"expected a basis for all electrons of {symbol}, {name!r} replaces {hidden} of them by a core potential; "
            "valid are x2c-SVPall, x2c-TZVPall and others, with method.auxiliary_basis = 'x2c-JFIT'",
        )
    return loaded


def _runs(numbers: Sequence[int]) -> str:
    """Elements as text, such as `H to Ar, Sc to Kr`."""
    starts = [number for number in numbers if number - 1 not in numbers]
    stops = [number for number in numbers if number + 1 not in numbers]
    pairs = zip(starts, stops, strict=True)
    return ", ".join(
        ELEMENTS[start] if start == stop else f"{ELEMENTS[start]} to {ELEMENTS[stop]}" for start, stop in pairs
    )


@cache
def _load(name: str, symbol: str) -> list[Any]:
    """The basis; empty if there is none."""
    if plain(name) == plain(QM9_BASIS):
        return qm9_basis(symbol)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PySCF advises on other packages
            return list(gto.basis.load(name, symbol))
    except _LOOKUP_ERRORS:
        return []


@cache
def _core_electrons(name: str, symbol: str) -> int:
    """Number of electrons that a core potential of this basis replaces."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            potential = gto.basis.load_ecp(name, symbol)
            return int(potential[0]) if potential else 0
    except TypeError:  # PySCF 2.14 cannot read potentials of a basis that it stores in several files
        entries = basis_set_exchange.get_basis(name, elements=symbol)["elements"].values()
        return int(next(iter(entries)).get("ecp_electrons", 0))
    except _LOOKUP_ERRORS:
        return 0
