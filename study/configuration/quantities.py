"""What can be predicted: every quantity, and everything in which one differs from another, declared once.

Plans, training, records and reports read these declarations and never ask for a quantity by name. To add a quantity,
add its name to `QuantityName` and its declaration to `QUANTITIES`. A label of imported data, `label:<name>`, is a
quantity too: `find_quantity` makes it from what the data declare.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.irreps import MulIrrep, parse_irreps

QuantityName: TypeAlias = Literal[
    "density",
    "energy",
    "forces",
    "forces_direct",
    "dipole",
    "dipole_sum",
    "dipole_magnitude",
    "quadrupole",
    "octupole",
    "polarizability",
    "homo",
    "lumo",
    "gap",
    "r2",
]
"""Values of `target.quantity`, beside `label:<name>`."""

Pooling: TypeAlias = Literal["coefficients", "sum", "mean", "atom", "charges", "gradient"]
"""How the network's outputs x_i on the atoms i make the prediction.

- `coefficients`: each atom's outputs are its coefficients in the auxiliary basis.
- `sum`: Σ_i x_i.
- `mean`: Σ_i x_i / N.
- `atom`: each atom's own x_i.
- `charges`: Σ_i q_i (r_i − C) + d_i from a scalar q_i and a vector d_i; the q_i are shifted to the total charge.
- `gradient`: −∂(Σ_i x_i)/∂r.

The code of each is in `tesseral.models.targets`, chosen by `tesseral.models.targets.model.build_target`.
"""

LossName: TypeAlias = Literal["auto", "overlap", "coulomb", "equal", "raw", "squared"]
"""Values of `loss.name`."""

LABEL = "label:"
"""Prefix of a `target.quantity` that names a label of imported data."""


@dataclass(frozen=True)
class Label:
    """What a column of numbers in reference data holds. Imported labels are declared so in the file's metadata."""

    irreps: tuple[MulIrrep, ...]
    """In the order of the numbers; e3nn's order and axes."""
    unit: str
    """Such as `bohr^3`."""
    per: Literal["structure", "atom"]
    """Whether each structure or each atom has one."""
    multipole: int | None = None
    """Order l of the electric multipole about the centre of nuclear charge that it is; None for anything else."""

    @property
    def width(self) -> int:
        """Numbers of one label: Σ mul·(2l+1)."""
        return sum(mul * (2 * order + 1) for mul, order, _ in self.irreps)

    def to_dict(self) -> dict[str, str]:
        """As in the `tesseral.labels` metadata of a reference file."""
        return {"irreps": "+".join(map(str, self.irreps)), "unit": self.unit, "per": self.per}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        :param tree: with `irreps`, `unit` and `per`.
        :raises ValueError: if the irreps cannot be read, or `per` is another word.
        """
        if tree["per"] not in ("structure", "atom"):
            raise ValueError(f"expected 'structure' or 'atom', got {tree['per']!r}")
        return cls(parse_irreps(tree["irreps"]), tree["unit"], tree["per"])


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What is predicted: where it stands in the data, how outputs make it, how it is trained and judged."""

    name: str
    """As `target.quantity`."""
    phrase: str
    """In print, after "the": `energy`, `direct forces`."""

    column: str
    """Column of the reference data, of `tesseral.study.records.schemas.REFERENCE`, or `label.<name>`."""
    columns_beside: tuple[str, ...] = ()
    """Further columns that every structure must have."""
    columns_optional: tuple[str, ...] = ()
    """Further columns that are trained on where the data have them."""
    on_request: bool = False
    """Whether a recipe computes the column only if its `method.quantities` names it."""
    per: Literal["structure", "atom"]
    """Whether each structure or each atom has one."""
    unit: str
    """Empty for a label whose data are not at hand."""
    irreps: tuple[MulIrrep, ...] | None
    """Irreps of what is predicted. None where the study file does not tell: those of a density follow from the data's
    auxiliary basis, those of a label from the data's declaration."""
    magnitude: bool = False
    """Whether it is the length of the vector in the column."""
    multipole: int | None = None
    """Order l of the electric multipole about the centre of nuclear charge in the column; None for anything else."""
    molecular: bool = False
    """Whether it has a meaning for molecules in empty space alone, and none for a periodic structure."""

    pooling: Pooling
    """How the outputs make it."""
    outputs: tuple[MulIrrep, ...] | None
    """Irreps of the network's outputs on each atom; None where `irreps` is None."""
    extensive: bool = False
    """Whether it grows with the structure. Its invariants are then measured from Σ_i a(Z_i), with a number a for each
    element fitted by least squares; those of an intensive quantity from their mean."""

    losses: tuple[LossName, ...] = ("squared",)
    """Values of `loss.name` that fit; `auto` stands for the first."""
    loss_weights: tuple[str, ...] = ()
    """Fields of `[loss]` that weigh the terms of its loss."""
    metrics: tuple[str, ...] = ("relative_error", "error", "component_mae", "component_rmse")
    """Names in `tesseral.study.configuration.metrics.METRICS`. A study is judged by the first that its targets share,
    unless it names another."""
    own_metric: str = "error"
    """The metric in the quantity's own measure, which a report shows beside `relative_error`."""
    ablation_metric: str = "relative_error"
    """The metric that ablations of trained networks are measured by."""

    @property
    def in_basis(self) -> bool:
        """Whether it is expanded in the data's auxiliary basis: `target.orders` may then choose orders of it."""
        return self.pooling == "coefficients"

    @property
    def differentiated(self) -> bool:
        """Whether a prediction takes a gradient by the positions, and training one through it."""
        return self.pooling == "gradient"

    @property
    def summed(self) -> bool:
        """Whether the outputs of all atoms add up to the prediction."""
        return self.pooling in ("sum", "charges", "gradient")

    @property
    def additive(self) -> bool:
        """Whether invariants are measured from a number for each element: summed over a structure if extensive, the
        atom's own if each atom has a value."""
        return self.extensive or self.per == "atom"

    @property
    def has_atomic_references(self) -> bool:
        """Whether a value for a structure holds invariants that are measured from a number for each element."""
        return self.extensive and any(order == 0 and parity == 1 for _, order, parity in self.irreps or ())

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that every structure must have."""
        return (self.column, *self.columns_beside)

    def unreached(self, missing: Iterable[MulIrrep]) -> tuple[MulIrrep, ...]:
        """The irreps of the target that stay zero if the network cannot make some of its outputs.

        Where outputs and target have the same irreps these are the missing outputs. Elsewhere each output alone
        makes every component: charges times positions make a dipole without an output of l = 1, and the gradient of
        a scalar makes forces.

        :param missing: outputs that the network cannot reach, terms of `outputs`.
        """
        lost = tuple(missing)
        if self.outputs is None or self.outputs == self.irreps:
            return lost
        return self.irreps or () if set(lost) == set(self.outputs) else ()


def _property(
    name: QuantityName,
    irreps: str,
    unit: str,
    pooling: Pooling,
    *,
    phrase: str = "",
    column: str = "",
    outputs: str = "",
    per: Literal["structure", "atom"] = "structure",
    extensive: bool = False,
    magnitude: bool = False,
    multipole: int | None = None,
    molecular: bool = False,
    on_request: bool = False,
) -> Quantity:
    """A quantity with the losses and metrics of a property; phrase, column and outputs default to name and irreps."""
    kept = parse_irreps(irreps)
    # The error of a single number is that of its component.
    several = ("component_mae",) if sum(term.mul * (2 * term.l + 1) for term in kept) > 1 else ()
    of_atoms = ("energy_error_per_atom",) if name == "energy" else ()
    return Quantity(
        name=name,
        phrase=phrase or name,
        column=column or name,
        on_request=on_request,
        per=per,
        unit=unit,
        irreps=kept,
        magnitude=magnitude,
        multipole=multipole,
        molecular=molecular or multipole is not None,
        pooling=pooling,
        outputs=parse_irreps(outputs or irreps),
        extensive=extensive,
        metrics=("relative_error", "error", *several, "component_rmse", *of_atoms),
    )


_DENSITY = Quantity(
    name="density",
    phrase="density",
    column="coefficients",
    columns_beside=("overlap",),
    molecular=True,
    per="atom",
    unit="electron bohr^(-3/2)",
    irreps=None,
    pooling="coefficients",
    outputs=None,
    losses=("overlap", "coulomb", "equal", "raw"),
    metrics=(
        "epsilon",
        "block_epsilon",
        "l2_error",
        "block_error",
        "mse",
        "electrons",
        "dipole_error",
        "quadrupole_error",
        "potential_error",
        "relative_error",
    ),
    own_metric="epsilon",
    ablation_metric="l2_error",
)

_FORCES = Quantity(
    name="forces",
    phrase="forces",
    column="forces",
    columns_optional=("energy", "stress"),
    on_request=True,
    per="atom",
    unit="hartree/bohr",
    irreps=parse_irreps("1x1o"),
    pooling="gradient",
    outputs=parse_irreps("1x0e"),
    loss_weights=("forces", "energy", "stress"),
    metrics=(
        "relative_error",
        "error",
        "component_mae",
        "component_rmse",
        "energy_error",
        "energy_error_per_atom",
        "stress_error",
        "stress_component_mae",
    ),
)

# The order of the columns is part of the data's content hash: new ones stand at the end.
QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        _DENSITY,
        _property("energy", "1x0e", "hartree", "sum", extensive=True),
        _FORCES,
        _property(
            "forces_direct",
            "1x1o",
            "hartree/bohr",
            "atom",
            phrase="direct forces",
            column="forces",
            per="atom",
            on_request=True,
        ),
        _property("dipole", "1x1o", "e bohr", "charges", outputs="1x0e+1x1o", multipole=1),
        _property("dipole_sum", "1x1o", "e bohr", "sum", phrase="dipole as a plain sum", column="dipole", multipole=1),
        # After Miller et al. (arXiv 2008.08461): a sum of scalars, though a length does not grow with the structure.
        _property(
            "dipole_magnitude",
            "1x0e",
            "e bohr",
            "sum",
            phrase="dipole's length",
            column="dipole",
            magnitude=True,
            multipole=1,
        ),
        _property("quadrupole", "1x2e", "e bohr^2", "sum", multipole=2),
        _property("octupole", "1x3o", "e bohr^3", "sum", multipole=3),
        _property("polarizability", "1x0e+1x2e", "bohr^3", "sum", extensive=True, molecular=True, on_request=True),
        # Miller et al. sum the atoms here too. The mean is taken instead: orbital energies do not grow with the
        # number of molecules, so a sum learnt on dimers would be half as large again on trimers.
        _property("homo", "1x0e", "hartree", "mean", phrase="HOMO energy", molecular=True),
        _property("lumo", "1x0e", "hartree", "mean", phrase="LUMO energy", molecular=True),
        _property("gap", "1x0e", "hartree", "mean", phrase="HOMO–LUMO gap"),
        _property("r2", "1x0e", "bohr^2", "sum", phrase="extent ⟨r²⟩", extensive=True, molecular=True),
    )
}
"""Name → declaration."""

COLUMNS: dict[str, Label] = {
    quantity.column: Label(quantity.irreps, quantity.unit, quantity.per, quantity.multipole)
    for quantity in QUANTITIES.values()
    if quantity.name == quantity.column and quantity.irreps is not None
} | {
    "charges": Label(parse_irreps("1x0e"), "e", "atom"),
    "stress": Label(parse_irreps("1x0e+1x2e"), "hartree/bohr^3", "structure"),
}
"""Columns of reference data that hold numbers of fixed irreps. Partial charges are stored and never predicted; the
stress is trained beside forces, as the derivative of the same energy."""
MOLECULAR = tuple(dict.fromkeys(quantity.column for quantity in QUANTITIES.values() if quantity.molecular))
"""Columns that a periodic structure has none of. A multipole of a cell depends on where the cell begins, orbital
energies have no zero there, and the auxiliary basis does not repeat."""


def quantity_of(name: str, labels: Mapping[str, Label] | None = None) -> Quantity:
    """The quantity of that name, as far as it is known.

    A study file alone does not tell a label's irreps, unit and pooling. Where the data declare no such label, or are
    not at hand, irreps are None, the unit is empty, and a value for each structure is assumed.

    :param name: as `target.quantity`, already validated.
    :param labels: what the reference data declare, by name.
    """
    if name in QUANTITIES:
        return QUANTITIES[name]
    key = name.removeprefix(LABEL)
    label = (labels or {}).get(key)
    atomic = label is not None and label.per == "atom"
    return Quantity(
        name=name,
        phrase=f"label {key}",
        column=f"label.{key}",
        per="atom" if atomic else "structure",
        unit="" if label is None else label.unit,
        irreps=None if label is None else label.irreps,
        pooling="atom" if atomic else "sum",
        outputs=None if label is None else label.irreps,
        extensive=not atomic,
    )


def find_quantity(name: str, labels: Mapping[str, Label]) -> Quantity:
    """The quantity of that name, known in full.

    :param name: as `target.quantity`.
    :param labels: what the reference data declare, by name.
    :raises StudyFileError: if there is no such quantity, or the data declare no such label.
    """
    if name not in QUANTITIES and (not name.startswith(LABEL) or name.removeprefix(LABEL) not in labels):
        own = ", ".join(LABEL + key for key in labels) or f"no {LABEL}<name>, for the reference data declare none"
        raise StudyFileError("target.quantity", f"expected one of {', '.join(QUANTITIES)}, or {own}, got {name!r}")
    return quantity_of(name, labels)
