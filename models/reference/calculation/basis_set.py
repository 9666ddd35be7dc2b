"""An element's basis set by its name: PySCF's own, else the Basis Set Exchange's."""

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

from tesseral.study.errors import StudyFileError

_LOOKUP_ERRORS = (RuntimeError, LookupError, OSError, ValueError, TypeError, AttributeError, AssertionError)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 +*(),._'-]*")
_LAST_ELEMENT = 86  # radon; no basis that would be named here goes further without a core potential


def load_basis(name: str, symbol: str, path: str) -> list[Any]:
    """An element's basis in PySCF's words: [[l, [exponent, coefficient, …], …], …].

    :param path: dotted path of the key that named it.
    :raises StudyFileError: if it is no name, or neither PySCF nor the Basis Set Exchange has it for this element.
    """
    # PySCF takes text and files too, and evaluates what stands in them.
    if not _NAME.fullmatch(name) or Path(name).exists():
        raise StudyFileError(
            path, f"expected the name of a basis, such as def2-SVP, not its text or a file, got {name[:60]!r}"
        )
    loaded = _load(name, symbol)
    if loaded:
        return deepcopy(loaded)  # PySCF may change what it is given
    present = [number for number in range(1, _LAST_ELEMENT + 1) if _load(name, ELEMENTS[number])]
    if present:
        raise StudyFileError(path, f"expected a basis that has {symbol}, got {name!r}, which has {_runs(present)}")
    valid = "def2-universal-jfit, def2-universal-jkfit" if "auxiliary" in path else "STO-3G, def2-SVP, def2-TZVP"
    raise StudyFileError(
        path,
        f"expected a basis that PySCF or the Basis Set Exchange has, got {name!r}; valid are {valid} and others",
    )


def load_orbital_basis(name: str, symbol: str) -> list[Any]:
    """The basis of `method.basis`, which must be one for all of an element's electrons.

    :raises StudyFileError: if there is none, or it replaces the core's electrons by a potential: no density there.
    """
    loaded = load_basis(name, symbol, "method.basis")
    if hidden := _core_electrons(name, symbol):
        raise StudyFileError(
            "method.basis",
            f"expected a basis for all electrons of {symbol}, {name!r} replaces {hidden} of them by a core potential; "
            "valid are x2c-SVPall, x2c-TZVPall and others",
        )
    return loaded


def _runs(numbers: Sequence[int]) -> str:
    """Elements in words: `H to Ar, Sc to Kr`."""
    starts = [number for number in numbers if number - 1 not in numbers]
    stops = [number for number in numbers if number + 1 not in numbers]
    pairs = zip(starts, stops, strict=True)
    return ", ".join(
        ELEMENTS[start] if start == stop else f"{ELEMENTS[start]} to {ELEMENTS[stop]}" for start, stop in pairs
    )


@cache
def _load(name: str, symbol: str) -> list[Any]:
    """Empty where there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PySCF's advice on other packages
            return list(gto.basis.load(name, symbol))
    except _LOOKUP_ERRORS:
        return []


@cache
def _core_electrons(name: str, symbol: str) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            potential = gto.basis.load_ecp(name, symbol)
            return int(potential[0]) if potential else 0
    except TypeError:  # PySCF 2.14 cannot read the potentials of a basis that it keeps in several files
        found = basis_set_exchange.get_basis(name, elements=symbol)["elements"].values()
        return int(next(iter(found)).get("ecp_electrons", 0))
    except _LOOKUP_ERRORS:
        return 0
