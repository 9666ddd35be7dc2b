"""A label of a frame converted to the unit, irreps, axes and origin of reference data."""

import numpy as np
from ase.data import atomic_masses
from numpy.typing import NDArray

from tesseral.models.reference.conventions import change_of_basis, to_irreps
from tesseral.models.reference.exchange.extended_xyz import Frame
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError
from tesseral.study.parsing.irreps import MulIrrep, parse_irreps
from tesseral.study.recipe.mapping import LabelSource

Array = NDArray[np.float64]

LEFT_OUT = 1e-6
"""Largest share of a label's norm that may lie outside its irreps: rounding in a file leaves 1e-7, a wrong tensor
more."""


def label_values(frame: Frame, label: LabelSource, charge: int, where: str) -> tuple[Array, float]:
    """A frame's label in the column's unit, order and axes, and the share of its norm that its irreps leave out.

    :param frame: positions in Å, and labels as in the file.
    :param label: its name in the file, and what it is there.
    :param charge: total charge of the molecule, e.
    :param where: name of the frame in error messages.
    :returns: values, shape (width,), or (atoms, width) for a label per atom; and the largest share, at most `LEFT_OUT`
        unless the mapping symmetrizes.
    :raises DataError: as `import_frames`.
    """
    raw = frame.numbers(label.name, label.of)
    components, left_out = _components(raw, label, where)
    if left_out > LEFT_OUT and not label.symmetrize:
        raise DataError(
            f"expected {label.name} to hold {format_terms(label.kept)} alone, in {where} {left_out:.2g} of its norm is "
            "something else, an asymmetric part or another irrep; symmetrize = true leaves it out"
        )
    components = components * (label.scale * label.size)
    if label.convention == "compression":
        components = -components
    if label.convention == "virial" and frame.cell is not None:
        components = -components / abs(np.linalg.det(frame.cell / BOHR))
    if label.multipole == 1 and charge:  # a mapping must state higher multipoles about the centre of nuclear charge
        components = components + charge * _origin(frame, label, where)
    return components, left_out


def _components(raw: Array, label: LabelSource, where: str) -> tuple[Array, float]:
    """Irreps of a label's numbers, and the largest share of their norm that is left out.

    :param raw: shape (atoms or 1, numbers).
    """
    kept, numbers = label.kept, raw.shape[1]
    if label.form == "spherical":
        orders = [term.l for term in kept for _ in range(term.mul)]
        width = sum(2 * order + 1 for order in orders)
        if numbers != width:
            raise DataError(f"expected {width} numbers of {format_terms(kept)} in {label.name}, {where} has {numbers}")
        if label.order == "m":
            parts = np.split(raw, np.cumsum([2 * order + 1 for order in orders])[:-1], axis=1)
            raw = np.concatenate(
                [part @ change_of_basis(order).T for part, order in zip(parts, orders, strict=True)], axis=1
            )
        return (raw if label.of == "atom" else raw[0]), 0.0
    if label.order not in ("e3nn", "m"):
        if numbers != 6:
            raise DataError(f"expected the 6 numbers {label.components} in {label.name}, {where} has {numbers}")
        raw, numbers = _unpacked(raw, label.components), 9
    rank = next((rank for rank in label.ranks if 3**rank == numbers), None)
    if rank is None:
        sizes = " or ".join(str(3**rank) for rank in label.ranks)
        raise DataError(
            f"expected {sizes} numbers of a Cartesian tensor that holds {format_terms(kept)} in {label.name}, "
            f"{where} has {numbers}" + ('; order = "xx yy zz xy xz yz" states theirs' if numbers == 6 else "")
        )
    tensors = raw.reshape(-1, *[3] * rank)
    if label.multipole is None or label.convention is None:
        components, left_out = to_irreps(tensors, kept, rank)
    else:
        components, left_out = _racah(tensors, label, rank)
    return (components if label.of == "atom" else components[0]), float(left_out.max())


def _unpacked(raw: Array, components: str) -> Array:
    """The nine numbers of a symmetric tensor from six, shape (tensors, 9)."""
    order = components.split()
    return np.stack([raw[:, order.index("".join(sorted(a + b)))] for a in "xyz" for b in "xyz"], axis=1)


def _racah(tensors: Array, label: LabelSource, rank: int) -> tuple[Array, Array]:
    """Racah's multipoles Σ q C_lm r^l from Cartesian ones, l the rank.

    The traceless part of r…r has the norm r^l √(l!/(2l−1)!!), and Σ_m C_lm² = 1. Each C_lm r^l is therefore
    √((2l−1)!!/l!) times the component of r…r. Buckingham's multipoles (Adv. Chem. Phys. 12, 107, 1967) are (2l−1)!!/l!
    times the traceless part.
    """
    ratio = {2: 3 / 2, 3: 5 / 2}[rank]  # (2l − 1)!!/l!
    if label.convention == "buckingham":
        components, left_out = to_irreps(tensors, label.kept, rank)
        return components / np.sqrt(ratio), left_out
    every = parse_irreps("0e+2e" if rank == 2 else "1o+3o")  # a moment has a trace: dropping it is no loss
    components, left_out = to_irreps(tensors, every, rank)
    return components[:, -(2 * rank + 1) :] * np.sqrt(ratio), left_out


def _origin(frame: Frame, label: LabelSource, where: str) -> Array:
    """O − C, bohr: moving a dipole from the origin O to the centre of nuclear charge C adds charge · (O − C)."""
    if label.origin is None:
        raise DataError(
            f"expected an origin of {label.name}, since the dipole of the charged molecule in {where} depends on it; "
            "valid are 'nuclear_charge', 'coordinates' and 'mass'"
        )
    charges = np.array(frame.atomic_numbers, dtype=float)
    centre = charges @ frame.positions / charges.sum()
    masses = atomic_masses[list(frame.atomic_numbers)]
    origin = {
        "nuclear_charge": centre,
        "coordinates": np.zeros(3),
        "mass": masses @ frame.positions / masses.sum(),
    }[label.origin]
    result: Array = (origin - centre) / BOHR
    return result


def format_terms(irreps: tuple[MulIrrep, ...]) -> str:
    """Irreps as text in the given order, such as `1x0e+1x2e`.

    :param irreps: terms (mul, l, p).
    """
    return "+".join(map(str, irreps))
