"""A trained model as an ASE calculator: energy and forces, or a dipole, for dynamics, relaxation and spectra."""

from collections.abc import Sequence
from typing import Any

import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from tesseral.models.networks.graph import at_positions
from tesseral.models.prediction.ase_units import to_ase
from tesseral.models.prediction.trained_model import TrainedModel
from tesseral.models.reference.structure import Structure
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError, StudyFileError

PROPERTIES = {
    "forces": ["energy", "free_energy", "forces"],
    "energy": ["energy", "free_energy", "forces"],
    "forces_direct": ["forces"],
    "dipole": ["dipole"],
    "dipole_sum": ["dipole"],
}
"""Quantity that a model predicts → what ASE can ask of it. Forces of an energy are its gradient."""


class TrainedCalculator(Calculator):
    """Energies in eV, forces in eV/Å, a dipole in e Å about the centre of nuclear charge.

    Forces of the targets `energy` and `forces` are minus the gradient of the energy, so dynamics conserve energy. Those
    of `forces_direct` need not.

    :param model: that predicts one of `PROPERTIES`.
    :param charge: of the molecule, e; None: `atoms.info["charge"]`, else 0.
    :raises StudyFileError: if the model predicts something else.
    """

    def __init__(self, model: TrainedModel, charge: int | None = None) -> None:
        if model.quantity.name not in PROPERTIES:
            raise StudyFileError(
                "target.quantity",
                f"expected a trial that predicts one of {', '.join(PROPERTIES)}, got one of {model.quantity.name}",
            )
        self.implemented_properties = PROPERTIES[model.quantity.name]
        super().__init__()
        self.model, self.charge = model, charge

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = (), system_changes: Sequence[str] = all_changes
    ) -> None:
        """Compute all properties of a molecule; ASE calls this.

        :param atoms: in empty space.
        :param properties: any; all are computed.
        :param system_changes: any.
        :raises DataError: if the molecule is periodic, or the trial's data have no such element or charge.
        """
        super().calculate(atoms, properties, system_changes)
        own: Any = self.atoms
        if own.pbc.any():
            raise DataError("expected a molecule in empty space, got periodic atoms; atoms.pbc = False makes them one")
        charge = int(own.info.get("charge", 0)) if self.charge is None else self.charge
        name = own.get_chemical_formula()
        molecule = Structure(name, tuple(own.numbers.tolist()), own.positions.copy(), charge)
        quantity = self.model.quantity
        values = self._energy(molecule) if quantity.name == "energy" else self.model.predict([molecule])[0]
        self.results = {column: to_ase(column, each, quantity) for column, each in values.items()}
        if "energy" in self.results:
            self.results["energy"] = self.results["free_energy"] = float(self.results["energy"][0])

    def _energy(self, molecule: Structure) -> dict[str, Any]:
        """An energy with its gradient, in hartree and hartree/bohr, of a model that was trained on energies alone."""
        graph = self.model.graph([molecule])
        with torch.enable_grad():
            positions = graph.positions.detach().requires_grad_()
            energy = self.model(at_positions(graph, positions, self.model.edges))
            (gradient,) = torch.autograd.grad(energy.sum(), positions)
        return {"energy": energy[0].detach().cpu().numpy(), "forces": (-BOHR * gradient.double()).cpu().numpy()}
