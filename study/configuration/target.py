"""What a trial predicts and what it minimises: the tables `[target]` and `[loss]` of a study file."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from tesseral.study.configuration.quantities import LossName, QuantityName, quantity_of
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.section import Range, Section


@dataclass(frozen=True, kw_only=True)
class Target(Section):
    """What is predicted."""

    quantity: QuantityName | Annotated[str, Range(pattern=r"^label:.")] = "density"
    """What of the reference data is predicted; irreps and units are in `tesseral.study.configuration.quantities`.

    `density`: auxiliary coefficients of every l on each atom, less those of the isolated atoms. `energy`: a sum of
    scalars of the atoms. `forces`: minus the gradient of such an energy by the positions, trained on the forces and,
    where the reference has them, on the energies. `forces_direct`: a vector of each atom. `dipole`: charges, which
    add up to the total charge, times positions, and vectors of the atoms; `dipole_sum`: the vectors alone;
    `dipole_magnitude`: its length, as a sum of scalars of the atoms. `quadrupole`, `octupole`, `polarizability`,
    `r2`: sums of 2e, 3o, 0e+2e, 0e of the atoms. `homo`, `lumo`, `gap`: means of scalars of the atoms. `label:<name>`:
    a label of imported data, summed over the atoms or each atom's own, as its file declares."""
    orders: Annotated[tuple[Annotated[int, Range(ge=0, le=10)], ...], Range(min_length=1)] | None = None
    """Of the density, the orders l that are predicted: neither network nor loss nor metrics see the others. All of
    the auxiliary basis if not given."""
    scale: Literal["spread", "none"] = "spread"
    """`spread`: outputs are multiplied by the target's spread over the training split: that of each element's shell
    of the density (its scalars shifted by their mean), of each irrep of others. `none`: outputs are Rackers' y of the
    density, and of others the target in its unit. Both are added to what an invariant is measured from: see
    `tesseral.models.targets.property`."""

    def resolve(self) -> Self:
        """With orders ascending, each once.

        :raises StudyFileError: if orders are given for another target than the density.
        """
        if self.orders is None:
            return self
        if not quantity_of(self.quantity).in_basis:
            raise StudyFileError("target.orders", f"expected none but with the target density, got {self.quantity!r}")
        return replace(self, orders=tuple(sorted(set(self.orders))))


@dataclass(frozen=True, kw_only=True)
class Loss(Section):
    """What is minimised. See `tesseral.models.targets.loss` for the formulas."""

    name: LossName = "auto"
    """Of the density: `overlap`, ∫Δρ²; `coulomb`, ∫∫ΔρΔρ′/r; `equal`, the mean over l of Σerr²/Σ(y−ȳ)²; `raw`, the mean
    squared error of Rackers' y. Of any other target: `squared`, the mean squared error over the squared spread.
    `auto`: `overlap` or `squared`, whichever fits."""
    forces: Annotated[float, Range(ge=0)] = 1.0
    """Of the target `forces`, the weight of the forces' squared error over their squared spread."""
    energy: Annotated[float, Range(ge=0)] = 1.0
    """Of the target `forces`, the weight of the energies' squared error for each atom, over the square of what such a
    force does over 1 Å. Other targets have no weights: theirs count as 1."""

    def resolve(self, quantity: str) -> Self:
        """With the loss that `auto` stands for.

        :raises StudyFileError: if the loss does not fit the quantity, or both weights are zero.
        """
        declared = quantity_of(quantity)
        name = declared.losses[0] if self.name == "auto" else self.name
        if name not in declared.losses:
            expected = " or ".join(("auto", *declared.losses))
            raise StudyFileError("loss.name", f"expected {expected} with the target {quantity}, got {name!r}")
        weights = {field: getattr(self, field) for field in declared.loss_weights}
        if weights and not any(weights.values()):
            raise StudyFileError(
                f"loss.{declared.loss_weights[0]}",
                f"expected a weight of {' or of '.join(weights)} above 0, got 0 for each",
            )
        # Other weights go back to their defaults: what has no effect must not give trials different ids.
        return type(self)(name=name, **weights)
