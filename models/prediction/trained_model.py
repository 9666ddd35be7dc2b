"""A trained model with what it takes to use it: elements, quantity, units, the trial that it is of."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from tesseral.models.data.reference_file import Reference
from tesseral.models.data.target_columns import chosen_basis
from tesseral.models.networks.graph import EdgeBasis, Graph, join, molecule_graph
from tesseral.models.networks.products.backend import choose_backend
from tesseral.models.reference.structure import Structure
from tesseral.models.targets.forces import EnergyForces
from tesseral.models.targets.model import Model
from tesseral.study.configuration.quantities import find_quantity
from tesseral.study.configuration.trial import Trial
from tesseral.study.errors import DataError, TesseralError

if TYPE_CHECKING:  # it imports ASE
    from tesseral.models.prediction.calculator import TrainedCalculator

Array = NDArray[np.float64]


class TrainedModel(Module):
    """The model of a complete trial, in evaluation mode, ready to predict any molecule of its elements and charges.

    :param model: with the trial's weights.
    :param trial: that the weights are of.
    :param reference: the trial's data.
    :param study: name of the study; empty if there is none.
    :param metrics: of the trial's outcome, such as `test.relative_error`.
    """

    def __init__(
        self,
        model: Model,
        trial: Trial,
        reference: Reference,
        study: str = "",
        metrics: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        configuration = trial.configuration.resolved()
        self.model = model
        self.trial, self.study, self.metrics = trial, study, dict(metrics or {})
        self.quantity = find_quantity(configuration.target.quantity, reference.labels)
        self.elements = reference.elements
        self.charges = tuple(sorted(set(reference.converged.table["charge"].to_pylist())))
        self.basis = chosen_basis(reference, configuration.target)
        self.edges = EdgeBasis.from_settings(configuration.network)
        self.eval()

    def extra_repr(self) -> str:
        """Trial, study and quantity."""
        return f"trial {self.trial.id[:10]} of {self.study or 'no study'}: {self.quantity.name}"

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.model.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Move or round the weights, as `to`, `double` or `cuda` ask; products are computed as suits the new place."""
        super()._apply(fn, recurse)
        choose_backend(self.model, "auto", self.device)
        return self

    def forward(self, graph: Graph) -> Any:
        """The prediction, see `tesseral.models.targets.model.Model`.

        :param graph: of `graph`.
        """
        return self.model(graph)

    def graph(self, structures: Sequence[Structure]) -> Graph:
        """The structures as one graph, on the model's device and in its precision.

        :param structures: at least one.
        :raises DataError: if the trial's data have no such element or charge, two atoms are at one place, or a
            structure is periodic and what the model predicts has no meaning there.
        """
        return join([self._graph(structure) for structure in structures]).to(self.device, self.dtype)

    def _graph(self, structure: Structure) -> Graph:
        if structure.charge not in self.charges:
            raise DataError(
                f"{structure.id}: expected a molecule of a charge that the trial's data holds, "
                f"{', '.join(map(str, self.charges))}, got one of {structure.charge}"
            )
        if structure.cell is not None and self.quantity.molecular:
            raise DataError(
                f"{structure.id}: expected a molecule in empty space, got a periodic structure, for which "
                f"the {self.quantity.phrase} has no meaning"
            )
        positions = torch.from_numpy(structure.positions)
        numbers, charge, cell = structure.atomic_numbers, structure.charge, structure.cell
        try:
            return molecule_graph(numbers, positions, self.elements, self.edges, charge=charge, cell=cell)
        except DataError as error:
            raise DataError(f"{structure.id}: {error}") from None

    def predict(self, structures: Sequence[Structure]) -> list[dict[str, Array]]:
        """What the model predicts of each structure, in the units of reference data.

        Forces come with the energy that they are the gradient of. Where the trial's data have no energies, it has an
        arbitrary zero for each composition. A structure that repeats along three axes has a stress beside them.

        :param structures: at least one; they are computed as one batch.
        :returns: for each structure, column of reference data → values, shape (components,), or (atoms, components) for
            a quantity of the atoms; `dipole_magnitude` stands under its own name. Coefficients of a density have the
            columns of the basis's layout; `basis.columns` names those of an element.
        :raises DataError: as `graph`.
        """
        with torch.no_grad():
            prediction = self(self.graph(structures))
        atoms = [len(structure.atomic_numbers) for structure in structures]
        parts: dict[str, Sequence[Tensor]]
        if isinstance(prediction, EnergyForces):
            parts = {"forces": prediction.forces.split(atoms)}
            if prediction.energy is not None:
                parts = {"energy": prediction.energy.unbind()} | parts
            if prediction.stress is not None:
                parts |= {"stress": prediction.stress.unbind()}
        else:
            name = self.quantity.name if self.quantity.magnitude else self.quantity.column
            parts = {name: prediction.split(atoms) if self.quantity.per == "atom" else prediction.unbind()}
        return [
            {
                name: values[index].double().cpu().numpy()
                for name, values in parts.items()
                if name != "stress" or bool(values[index].isfinite().all())
            }
            for index in range(len(structures))
        ]

    def calculator(self, charge: int | None = None) -> "TrainedCalculator":
        """An ASE calculator of the energy and its forces, or of a dipole.

        >>> atoms.calc = load("runs", "acac", "3f2a91").calculator()  # doctest: +SKIP

        :param charge: of the molecule, e; None: that of `calculator.stated_charge`.
        :raises StudyFileError: if the model predicts something else.
        :raises TesseralError: if ASE is not installed.
        """
        try:
            from tesseral.models.prediction.calculator import TrainedCalculator
        except ModuleNotFoundError as error:
            raise TesseralError(
                f"expected ASE for a calculator, got {error}; pip install 'tesseral[reference]' brings it"
            ) from None
        return TrainedCalculator(self, charge)
