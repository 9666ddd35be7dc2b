"""The auxiliary shells of an element: a published fitting basis by its name, or one made from the orbital basis."""

from functools import cache
from typing import Any

from pyscf import df, gto
from pyscf.data.elements import ELEMENTS

from tesseral.models.density.auxiliary_basis import Shell
from tesseral.models.reference.calculation.basis_set import load_basis, load_orbital_basis
from tesseral.study.errors import StudyFileError
from tesseral.study.recipe.method import Method

GENERATED = {"even-tempered": df.addons.aug_etb, "autoaux": df.autoaux}
"""Name → PySCF's generator: primitives for the products of the orbital basis's functions, to twice its l or nearly."""


@cache
def method_shells(atomic_number: int, method: Method) -> tuple[Shell, ...]:
    """The shells that a recipe's method names, see `auxiliary_shells`."""
    return auxiliary_shells(atomic_number, method.auxiliary_basis, method.decontracted, method.basis)


def auxiliary_shells(
    atomic_number: int, name: str, decontracted: bool, orbital_basis: str | None = None
) -> tuple[Shell, ...]:
    """Shells of one element, sorted by l and then from the steepest exponent to the flattest.

    :param name: PySCF's or the Basis Set Exchange's, or a key of `GENERATED`.
    :param decontracted: each different primitive is a shell of its own; a basis of `GENERATED` is nothing else.
    :param orbital_basis: from which a basis of `GENERATED` is made.
    :raises StudyFileError: if there is no such basis for this element.
    """
    symbol = ELEMENTS[atomic_number]
    if name.lower() in GENERATED:
        if orbital_basis is None:
            raise StudyFileError("method.auxiliary_basis", f"expected an orbital basis to make {name!r} from, got none")
        loaded = _generated(name.lower(), symbol, orbital_basis)
    else:
        loaded = load_basis(name, symbol, "method.auxiliary_basis")
    if decontracted:
        primitives = {(entry[0], primitive[0]) for entry in loaded for primitive in entry[1:]}
        shells = [Shell(order, (exponent,), (1.0,)) for order, exponent in primitives]
    else:
        atom = _atom(symbol, loaded)
        shells = [
            Shell(atom.bas_angular(index), tuple(atom.bas_exp(index).tolist()), tuple(column.tolist()))
            for index in range(atom.nbas)
            for column in atom.bas_ctr_coeff(index).T
        ]
    return tuple(sorted(shells, key=lambda shell: (shell.l, -max(shell.exponents))))


def auxiliary_name(method: Method) -> str:
    """The auxiliary basis as the records name it, such as `def2-universal-jfit, decontracted`."""
    if method.auxiliary_basis.lower() in GENERATED:
        return f"{method.auxiliary_basis.lower()} of {method.basis}"
    return f"{method.auxiliary_basis}, decontracted" if method.decontracted else method.auxiliary_basis


def _generated(name: str, symbol: str, orbital_basis: str) -> list[Any]:
    made = GENERATED[name](_atom(symbol, load_orbital_basis(orbital_basis, symbol)))[symbol]
    # Exponents of one element repeat to the last digits only: rounded, an l that two products reach is not doubled.
    return [[entry[0], *([float(f"{exponent:.12g}"), 1.0] for exponent, *_ in entry[1:])] for entry in made]


def _atom(symbol: str, basis: list[Any]) -> gto.Mole:
    return gto.M(atom=[(symbol, (0, 0, 0))], basis={symbol: basis}, spin=None, verbose=0)
