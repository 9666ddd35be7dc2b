"""What a trial predicts and what it minimises: the tables `[target]` and `[loss]` of a study file."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from tesseral.study.configuration.quantities import LossName, QuantityName, quantity_of
from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.section import Later, Range, Section


@dataclass(frozen=True, kw_only=True)
class Target(Section):
    """What is predicted."""

    quantity: QuantityName | Annotated[str, Range(pattern=r"^label:.")] = "density"
    """What of the reference data is predicted. The documentation's page "Units and conventions" lists the units.

    - `density`: coefficients in an auxiliary basis, of every order l on each atom, less those of the isolated atoms.
    - `energy`: a sum over the atoms of a scalar.
    - `forces`: minus the gradient of such an energy by the positions, trained on the forces and, where the reference
      has them, on the energies and on the stress of periodic structures. `forces_direct`: a vector on each atom.
    - `dipole`: a sum over the atoms of a charge times the position and a vector; the charges add up to the total
      charge. `dipole_sum`: the vectors alone. `dipole_magnitude`: the dipole's length, as a sum of a scalar.
    - `quadrupole`, `octupole`, `polarizability`, `r2`: sums over the atoms of 2e, 3o, 0e+2e, 0e.
    - `homo`, `lumo`, `gap`: means over the atoms of a scalar.
    - `label:<name>`: a label of imported data, a sum over the atoms or each atom's own, as its file declares."""
    orders: Annotated[tuple[Annotated[int, Range(ge=0, le=10)], ...], Range(min_length=1)] | None = None
    """Orders l of the density that are predicted; all orders of the auxiliary basis if not given. Network, loss and
    metrics see no other."""
    scale: Literal["spread", "none"] = "spread"
    """Unit of the network's outputs.

    `spread`: the target's spread over the training split, of each element's shell for a density and of each irrep for
    any other target. `none`: the target's own unit; for a density that of Rackers' y. Either way, an invariant
    (l = 0) is predicted relative to its training mean or, if it grows with the structure, to a sum over the atoms of
    one constant per element, fitted to the training split."""

    def resolve(self) -> Self:
        """The same target with its orders ascending, each once.

        :raises StudyFileError: if orders are given for a target that is not expanded in an auxiliary basis.
        """
        if self.orders is None:
            return self
        if not quantity_of(self.quantity).in_basis:
            raise StudyFileError("target.orders", f"expected none but with the target density, got {self.quantity!r}")
        return replace(self, orders=tuple(sorted(set(self.orders))))


@dataclass(frozen=True, kw_only=True)
class Loss(Section):
    """What training minimises; `name` chooses the formula."""

    name: LossName = "auto"
    """A density has `overlap`, ∫Δρ²; `coulomb`, ∫∫ΔρΔρ′/r; `equal`, the mean over l of Σerr²/Σ(y−ȳ)²; `raw`, the mean
    squared error of Rackers' y. Any other target has `squared`, the mean squared error over the squared spread.
    `auto` is `overlap` or `squared`, whichever fits."""
    forces: Annotated[float, Range(ge=0)] = 1.0
    """Weight, for the target `forces`, of the forces' squared error over their squared spread."""
    energy: Annotated[float, Range(ge=0)] = 1.0
    """Weight, for the target `forces`, of the energies' squared error per atom over (s_F · 1 Å)², s_F the forces'
    spread. The weights have no effect on other targets."""
    stress: Annotated[float, Range(ge=0), Later] = 1.0
    """Weight, for the target `forces`, of the squared error of the stress over its mean square. It counts for the
    structures whose stress the reference has."""
    orders: Annotated[tuple[Annotated[float, Range(ge=0)], ...] | None, Range(min_length=1), Later] = None
    """Weights of the orders l = 0, 1, 2, … of a target of several orders, such as `[1, 1, 4]`; the last one holds for
    all higher l. Each order's part of the error enters the loss times the root of its weight. Default: 1 for each."""

    def resolve(self, quantity: str) -> Self:
        """The same loss with `auto` replaced by the loss that it stands for.

        :param quantity: as `target.quantity`.
        :raises StudyFileError: if the loss does not fit the quantity, all its weights are zero, or orders have weights
            where there is one.
        """
        declared = quantity_of(quantity)
        name = declared.losses[0] if self.name == "auto" else self.name
        if name not in declared.losses:
            expected = " or ".join(("auto", *declared.losses))
            raise StudyFileError("loss.name", f"expected {expected} with the target {quantity}, got {name!r}")
        weights = {field: getattr(self, field) for field in declared.loss_weights}
        alone = [field for field in weights if field != "stress"]  # which says nothing of most structures
        if alone and not any(weights[field] for field in alone):
            raise StudyFileError(
                f"loss.{alone[0]}", f"expected a weight of {' or of '.join(alone)} above 0, got 0 for each"
            )
        if self.orders is not None:
            known = declared.irreps
            if declared.loss_weights or (known is not None and len({term.l for term in known}) == 1):
                raise StudyFileError(
                    "loss.orders",
                    f"expected none with the target {quantity}, which has one order, got {[*self.orders]}",
                )
            if not any(self.orders):
                raise StudyFileError("loss.orders", f"expected a weight above 0, got {[*self.orders]}")
        # Other weights go back to their defaults: what has no effect must not give trials different ids.
        return type(self)(name=name, orders=self._order_weights(), **weights)

    def _order_weights(self) -> tuple[float, ...] | None:
        """`orders` without last weights that repeat the one before, which holds for them too; None for 1 alone."""
        orders = self.orders
        while orders is not None and len(orders) > 1 and orders[-1] == orders[-2]:
            orders = orders[:-1]
        return None if orders == (1,) else orders
