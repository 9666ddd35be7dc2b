"""What can be predicted, declared once: column, irreps, unit and pooling, for plans, training and reports alike."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.irreps import MulIrrep, parse_irreps

Pooling = Literal["density", "sum", "mean", "atom", "charges", "gradient"]
"""How the outputs of a network on the atoms become the target.

`density`: outputs are coefficients. `sum`: of the atoms. `mean`: over the atoms. `atom`: each atom's own. `charges`:
Σ_i q_i (r_i − C) + d_i, with charges q that add up to the total charge. `gradient`: −∂(Σ_i e_i)/∂r.
"""

ON_REQUEST = ("forces", "polarizability")
"""Columns that a recipe makes only if its `method.quantities` names them."""

LABEL = "label:"
"""Beginning of a `target.quantity` that the reference file's own `tesseral.labels` declare."""


class Label(Protocol):
    """A column of imported data, as a reference file's metadata declare it."""

    @property
    def irreps(self) -> tuple[MulIrrep, ...]:
        """In the order of the numbers."""

    @property
    def unit(self) -> str:
        """Such as `bohr^3`."""

    @property
    def per(self) -> str:
        """`structure` or `atom`."""


@dataclass(frozen=True)
class Quantity:
    """What is predicted, and how a network's outputs make it."""

    name: str
    """As `target.quantity`."""
    column: str
    """Of the reference data: a column of `tesseral.study.records.schemas.REFERENCE`, or `label.<name>`."""
    irreps: tuple[MulIrrep, ...] | None
    """Of what is predicted; None for the density, where they follow from the auxiliary basis."""
    per: Literal["structure", "atom"]
    unit: str
    pooling: Pooling
    extensive: bool = False
    """Whether a value per structure grows with it: its invariants are then measured from the sum over the atoms of a
    number for each element, fitted by least squares; those of others from their mean."""
    magnitude: bool = False
    """Whether it is the length of what the column holds."""

    @property
    def outputs(self) -> tuple[MulIrrep, ...] | None:
        """What the network gives for each atom; None for the density."""
        if self.pooling == "charges":
            return parse_irreps("1x0e+1x1o")
        return parse_irreps("1x0e") if self.pooling == "gradient" else self.irreps

    def unreached(self, missing: Iterable[MulIrrep]) -> tuple[MulIrrep, ...]:
        """The irreps of the target that no term of the pooling can make of a network that lacks outputs.

        Charges times positions make a dipole without any output of l = 1, and so does a gradient make forces.

        :param missing: outputs that the network cannot reach, terms of `outputs`.
        """
        lost = tuple(missing)
        if self.pooling not in ("charges", "gradient") or self.irreps is None:
            return lost
        return self.irreps if set(lost) == set(self.outputs or ()) else ()


def _quantity(
    name: str,
    irreps: str | None,
    unit: str,
    pooling: Pooling,
    column: str = "",
    *,
    extensive: bool = False,
    magnitude: bool = False,
) -> Quantity:
    per_atom = pooling in ("density", "atom", "gradient")
    return Quantity(
        name=name,
        column=column or name,
        irreps=None if irreps is None else parse_irreps(irreps),
        per="atom" if per_atom else "structure",
        unit=unit,
        pooling=pooling,
        extensive=extensive,
        magnitude=magnitude,
    )


QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        _quantity("density", None, "electron bohr^(-3/2)", "density", "coefficients"),
        _quantity("energy", "1x0e", "hartree", "sum", extensive=True),
        _quantity("forces", "1x1o", "hartree/bohr", "gradient"),
        _quantity("forces_direct", "1x1o", "hartree/bohr", "atom", "forces"),
        _quantity("dipole", "1x1o", "e bohr", "charges"),
        _quantity("dipole_sum", "1x1o", "e bohr", "sum", "dipole"),
        # After Miller et al. (arXiv 2008.08461): a sum of scalars, though a length does not grow with the structure.
        _quantity("dipole_magnitude", "1x0e", "e bohr", "sum", "dipole", magnitude=True),
        _quantity("quadrupole", "1x2e", "e bohr^2", "sum"),
        _quantity("octupole", "1x3o", "e bohr^3", "sum"),
        _quantity("polarizability", "1x0e+1x2e", "bohr^3", "sum", extensive=True),
        # Miller et al. sum the atoms here too. The mean is taken instead: orbital energies do not grow with the
        # number of molecules, so a sum learnt on dimers would be half as large again on trimers.
        _quantity("homo", "1x0e", "hartree", "mean"),
        _quantity("lumo", "1x0e", "hartree", "mean"),
        _quantity("gap", "1x0e", "hartree", "mean"),
        _quantity("r2", "1x0e", "bohr^2", "sum", extensive=True),
    )
}
"""By name. `label:<name>` stands beside them: see `find_quantity`."""

LossName = Literal["auto", "overlap", "coulomb", "equal", "raw", "squared"]
"""Values of `loss.name`."""

_LOSSES: dict[str, tuple[LossName, ...]] = {"density": ("overlap", "coulomb", "equal", "raw")}


def losses(quantity: str) -> tuple[LossName, ...]:
    """Names of `[loss]` that fit a quantity; the first is what `auto` stands for."""
    return _LOSSES.get(quantity, ("squared",))


def find_quantity(name: str, labels: Mapping[str, Label] | None = None) -> Quantity:
    """The quantity of that name. A label's is a sum over the atoms, or each atom's own.

    :param labels: of the reference data, by name.
    :raises StudyFileError: if there is none of that name.
    """
    if name in QUANTITIES:
        return QUANTITIES[name]
    known = labels or {}
    key = name.removeprefix(LABEL)
    if key == name or key not in known:
        own = ", ".join(f"{LABEL}{one}" for one in known) or f"no {LABEL}<name>, for the reference data declare none"
        raise StudyFileError("target.quantity", f"expected one of {', '.join(QUANTITIES)}, or {own}, got {name!r}")
    label = known[key]
    atomic = label.per == "atom"
    return Quantity(
        name=name,
        column=f"label.{key}",
        irreps=label.irreps,
        per="atom" if atomic else "structure",
        unit=label.unit,
        pooling="atom" if atomic else "sum",
        extensive=not atomic,
    )
