"""The fitted density of an isolated atom, which is subtracted from the coefficients that a network learns."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscf import gto
from pyscf.data.elements import CONFIGURATION, ELEMENTS

from tesseral.models.density.auxiliary_basis import Shell
from tesseral.models.reference.calculation.density_fit import auxiliary_molecule, fit_density, function_charges
from tesseral.models.reference.calculation.mean_field import mean_field, molecule, total_density_matrix
from tesseral.models.reference.structure import Structure
from tesseral.study.errors import DataError
from tesseral.study.recipe.method import Method

_CYCLES = 100  # a recipe's own limit is meant for its structures


def with_isolated_atom(atomic_number: int, shells: Sequence[Shell], method: Method) -> tuple[Shell, ...]:
    """The element's shells with `isolated` set by a fit of `isolated_density`.

    Where `method` constrains the charge, the s functions hold exactly Z electrons.

    :param atomic_number: Z.
    :param shells: of the element.
    :param method: level of theory and basis.
    :raises DataError: if the atom does not converge.
    """
    mol, density_matrix = isolated_density(atomic_number, method)
    auxiliary = auxiliary_molecule({atomic_number: shells}, [atomic_number], np.zeros((1, 3)))
    charges = function_charges({atomic_number: shells}, [atomic_number])
    coefficients = fit_density(mol, density_matrix, auxiliary, charges, method.metric, method.constrain_charge)
    # Shells are sorted by l: the coefficients of the s shells come first, one each.
    return tuple(
        replace(shell, isolated=float(coefficients[index])) if shell.l == 0 else shell
        for index, shell in enumerate(shells)
    )


@cache
def isolated_density(atomic_number: int, method: Method) -> tuple[gto.Mole, NDArray[np.float64]]:
    """The neutral, spin-polarised, spherical ground state of an atom at the origin.

    Electrons of the open shell are spread evenly over its 2l+1 orbitals, which makes the density spherical. With
    integer occupations an oxygen atom would have a direction, and its degenerate p orbitals hardly converge.

    :param atomic_number: Z.
    :param method: level of theory and basis.
    :returns: the atom, and its density matrix of both spins, shape (orbitals, orbitals).
    :raises DataError: if the atom does not converge.
    """
    occupied = occupations(atomic_number)
    unpaired = round(sum(up - down for up, down in occupied))
    field = mean_field(molecule(Structure("atom", (atomic_number,), np.zeros((1, 3)), spin=unpaired), method), method)
    orders = [field.mol.bas_angular(i) for i in range(field.mol.nbas) for _ in range(_width(field.mol, i))]

    def occupy(energies: Any, orbitals: Any) -> NDArray[np.float64]:
        return np.stack([_fill(np.array(orders), energies[s], orbitals[s], [n[s] for n in occupied]) for s in (0, 1)])

    # Closed shells are spherical as they are.
    if unpaired:
        field.get_occ = occupy
    field.max_cycle = _CYCLES
    field.kernel()
    if not field.converged:
        raise DataError(
            f"expected the isolated atom {ELEMENTS[atomic_number]} to converge, with {method.method}/{method.basis} "
            "it did not; another method, basis or grid level is needed"
        )
    return field.mol, total_density_matrix(field)


def occupations(atomic_number: int) -> list[tuple[int, int]]:
    """Electrons (spin up, spin down) by l = 0, 1, 2, 3 in an atom's ground state, by Hund's first rule.

    >>> occupations(8)
    [(2, 2), (3, 1), (0, 0), (0, 0)]

    :param atomic_number: Z.
    """
    result = []
    for order, electrons in enumerate(CONFIGURATION[atomic_number]):
        closed, opened = divmod(electrons, 4 * order + 2)
        up = min(opened, 2 * order + 1)
        result.append((closed * (2 * order + 1) + up, closed * (2 * order + 1) + opened - up))
    return result


def _fill(
    orders: NDArray[np.int_], energies: NDArray[np.float64], orbitals: NDArray[np.float64], electrons: list[int]
) -> NDArray[np.float64]:
    """Occupations of one spin's orbitals: each l is filled from the lowest energy up, evenly within a shell.

    :param orders: l of each basis function, shape (functions,).
    :param electrons: electrons of this spin by l.
    """
    filled = np.zeros(len(energies))
    weight = np.stack([(orbitals[orders == order] ** 2).sum(axis=0) for order in range(max(orders) + 1)])
    order_of = weight.argmax(axis=0)  # l of each orbital, pure but for rounding as the atom is spherical
    for order in range(max(orders) + 1):
        mine = np.flatnonzero(order_of == order)
        mine = mine[np.argsort(energies[mine])]
        # n electrons fill n/(2l+1) shells: whole ones first, and the rest evenly over the next.
        shells = np.arange(len(mine)) // (2 * order + 1)
        filled[mine] = np.clip(electrons[order] / (2 * order + 1) - shells, 0, 1)
    return filled


def _width(mol: Any, index: int) -> int:
    """Number of functions in a shell of PySCF, 2l+1 for each of its contractions."""
    return int((2 * mol.bas_angular(index) + 1) * mol.bas_nctr(index))
