"""A trained model as an ASE calculator: energy, forces and stress, or a dipole, for dynamics and spectra."""

from collections.abc import Sequence
from typing import Any

import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from tesseral.models.prediction.ase_units import to_ase
from tesseral.models.prediction.trained_model import TrainedModel
from tesseral.models.reference.exchange.extended_xyz import CHARGES
from tesseral.models.reference.structure import Structure
from tesseral.models.targets.forces import differentiated
from tesseral.study.errors import DataError, StudyFileError

PROPERTIES = {
    "forces": ["energy", "free_energy", "forces", "stress"],
    "energy": ["energy", "free_energy", "forces", "stress"],
    "forces_direct": ["forces"],
    "dipole": ["dipole"],
    "dipole_sum": ["dipole"],
}
"""Quantity that a model predicts → what ASE can ask of it. Forces of an energy are its gradient."""


_REMEDY = "calculator(charge=…) states it instead"


class TrainedCalculator(Calculator):
    """Energies in eV, forces in eV/Å, a stress in eV/Å³, a dipole in e Å about the centre of nuclear charge.

    Atoms are periodic along the axes of `atoms.pbc`; where these are all three, there is a stress, in Voigt's order
    and positive under tension. Forces of the targets `energy` and `forces` are minus the gradient of the energy, so
    dynamics conserve energy. Those of `forces_direct` need not.

    :param model: that predicts one of `PROPERTIES`.
    :param charge: of the molecule, e; None: that of `stated_charge`. `set(charge=…)` changes it.
    :raises StudyFileError: if the model predicts something else.
    """

    discard_results_on_any_change = True

    def __init__(self, model: TrainedModel, charge: int | None = None) -> None:
        if model.quantity.name not in PROPERTIES:
            raise StudyFileError(
                "target.quantity",
                f"expected a trial that predicts one of {', '.join(PROPERTIES)}, got one of {model.quantity.name}",
            )
        self.implemented_properties = PROPERTIES[model.quantity.name]
        super().__init__(charge=charge)
        self.model = model

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What changed since the last calculation: as ASE says it, which leaves out the charge in `atoms.info`.

        :param atoms: to compute.
        :param tol: as ASE's.
        """
        changes: list[str] = super().check_state(atoms, tol)
        if changes or self.parameters["charge"] is not None:
            return changes
        computed: Any = self.atoms
        return [] if stated_charge(atoms) == stated_charge(computed) else ["charge"]

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = (), system_changes: Sequence[str] = all_changes
    ) -> None:
        """Compute all properties of a structure; ASE calls this.

        :param atoms: periodic or in empty space.
        :param properties: any; all are computed.
        :param system_changes: any.
        :raises DataError: if the trial's data have no such element or charge, the charge is no whole number, or the
            atoms are periodic and what the model predicts has no meaning there.
        """
        super().calculate(atoms, properties, system_changes)
        own: Any = self.atoms
        charge = stated_charge(own) if (given := self.parameters["charge"]) is None else given
        name = own.get_chemical_formula()
        cell = own.cell.array * own.pbc[:, None] if own.pbc.any() else None
        structure = Structure(name, tuple(own.numbers.tolist()), own.positions.copy(), charge, cell=cell)
        quantity = self.model.quantity
        values = self._energy(structure) if quantity.name == "energy" else self.model.predict([structure])[0]
        self.results = {column: to_ase(column, each, quantity) for column, each in values.items()}
        if "energy" in self.results:
            self.results["energy"] = self.results["free_energy"] = float(self.results["energy"][0])
        if "stress" in self.results:
            self.results["stress"] = full_3x3_to_voigt_6_stress(self.results["stress"])

    def _energy(self, structure: Structure) -> dict[str, Any]:
        """An energy with its gradients, in the units of reference data, of a model trained on energies alone."""
        with torch.no_grad():
            found = differentiated(self.model, self.model.graph([structure]), self.model.edges)
        values = {"forces": found.forces}
        for name, value in (("energy", found.energy), ("stress", found.stress)):
            if value is not None and bool(value.isfinite().all()):
                values[name] = value[0]
        return {name: value.cpu().numpy() for name, value in values.items()}


def stated_charge(atoms: Atoms) -> int:
    """The total charge that atoms state, e: under a key of `atoms.info`, else by the sum of their initial charges.

    Keys are those of a file's comment line, `charge`, `total_charge`, `tot_charge` or `net_charge`.

    :param atoms: without initial charges their sum is 0.
    :raises DataError: if the charge is no whole number, or two keys contradict each other.
    """
    stated = {f'atoms.info["{key}"]': atoms.info[key] for key in CHARGES if key in atoms.info}
    if not stated:
        stated["the sum of the initial charges"] = round(float(atoms.get_initial_charges().sum()), 6)
    charges = {_whole(value, where) for where, value in stated.items()}
    if len(charges) > 1:
        found = " and ".join(f"{where} = {value}" for where, value in stated.items())
        raise DataError(f"expected one total charge, got {found}; {_REMEDY}")
    return charges.pop()


def _whole(stated: Any, where: str) -> int:
    try:
        value = float(stated)
    except (TypeError, ValueError):
        value = float("nan")
    if not value.is_integer():
        raise DataError(f"expected a whole number as {where}, got {stated!r}; {_REMEDY}")
    return int(value)
