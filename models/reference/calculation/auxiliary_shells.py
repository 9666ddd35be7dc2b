"""The auxiliary shells of an element: a published fitting basis, or one generated from the orbital basis."""

from functools import cache
from typing import Any

from pyscf import df, gto
from pyscf.data.elements import ELEMENTS

from tesseral.models.density.auxiliary_basis import Shell
from tesseral.models.reference.calculation.basis_set import load_basis, load_orbital_basis
from tesseral.study.errors import StudyFileError
from tesseral.study.recipe.method import Method

GENERATED = {"even-tempered": df.addons.aug_etb, "autoaux": df.autoaux}
"""Name → generator of PySCF. Either makes uncontracted primitives for the products of orbital functions, up to twice
their l or nearly: `even-tempered` a geometric series, `autoaux` after Stoychev et al. (J. Chem. Theory Comput. 13, 554,
2017)."""


@cache
def method_shells(atomic_number: int, method: Method) -> tuple[Shell, ...]:
    """`auxiliary_shells` of a recipe's method, once in a process.

    :param atomic_number: of the element.
    :param method: of which auxiliary and orbital basis count.
    :raises StudyFileError: as `auxiliary_shells`.
    """
    return auxiliary_shells(atomic_number, method.auxiliary_basis, method.decontracted, method.basis)


def auxiliary_shells(
    atomic_number: int, name: str, decontracted: bool, orbital_basis: str | None = None
) -> tuple[Shell, ...]:
    """Shells of one element, sorted by l and then from the steepest to the most diffuse.

    :param atomic_number: of the element.
    :param name: name of a basis in PySCF or the Basis Set Exchange, or a key of `GENERATED`.
    :param decontracted: make each distinct primitive a shell of its own; bases of `GENERATED` always are.
    :param orbital_basis: the orbital basis that a basis of `GENERATED` is made from.
    :raises StudyFileError: if there is no such basis for this element, or a generated one has no orbital basis.
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
        # PySCF normalises contracted shells as it builds a molecule, so the coefficients are read from one.
        atom = _atom(symbol, loaded)
        shells = [
            Shell(atom.bas_angular(index), tuple(atom.bas_exp(index).tolist()), tuple(column.tolist()))
            for index in range(atom.nbas)
            for column in atom.bas_ctr_coeff(index).T
        ]
    return tuple(sorted(shells, key=lambda shell: (shell.l, -max(shell.exponents))))


def auxiliary_name(method: Method) -> str:
    """The auxiliary basis as the records name it, such as `def2-universal-jfit, decontracted`.

    :param method: of the recipe.
    """
    if method.auxiliary_basis.lower() in GENERATED:
        return f"{method.auxiliary_basis.lower()} of {method.basis}"
    return f"{method.auxiliary_basis}, decontracted" if method.decontracted else method.auxiliary_basis


def _generated(name: str, symbol: str, orbital_basis: str) -> list[Any]:
    generated = GENERATED[name](_atom(symbol, load_orbital_basis(orbital_basis, symbol)))[symbol]
    # Two products of shells may reach the same exponents of one l, equal but for their last digits. Rounded, they are
    # one primitive; else the metric would be nearly singular.
    return [[entry[0], *([float(f"{exponent:.12g}"), 1.0] for exponent, *_ in entry[1:])] for entry in generated]


def _atom(symbol: str, basis: list[Any]) -> gto.Mole:
    return gto.M(atom=[(symbol, (0, 0, 0))], basis={symbol: basis}, spin=None, verbose=0)
