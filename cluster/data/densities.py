"""Densities to export: those stored in reference data, and those that a trained trial predicts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tesseral.models.data.reference_file import Reference
from tesseral.models.data.references import open_data
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis
from tesseral.models.training.checkpoint import restore_model
from tesseral.models.training.prediction import predict_density
from tesseral.models.training.trial_check import check_trial
from tesseral.study.configuration.trial import Trial
from tesseral.study.errors import DataError
from tesseral.study.parsing.user_function import make_importable
from tesseral.study.records.ledger import Entry
from tesseral.study.records.store import Store
from tesseral.study.records.trained import find_trial, read_weights


@dataclass(frozen=True)
class Molecule:
    """A molecule whose density is exported."""

    name: str
    """Name in titles and error messages."""
    atomic_numbers: tuple[int, ...]
    positions: NDArray[np.float64]
    """Å, shape (atoms, 3)."""
    charge: int = 0
    """Total charge, e."""

    @property
    def electrons(self) -> int:
        """Number of electrons, Σ Z − charge."""
        return sum(self.atomic_numbers) - self.charge


@dataclass(frozen=True)
class Density:
    """A molecule's density, with a title that says where it comes from."""

    molecule: Molecule
    basis: AuxiliaryBasis
    coefficients: Sequence[Tensor]
    """Coefficients of each atom, shape (basis.size(Z),), float64, e3nn's order, electron · bohr^(−3/2)."""
    title: str
    """One line, for the header of a file."""
    expected: int
    """Number of electrons that ρ should hold; 0 for a difference of two densities."""

    @property
    def electrons(self) -> float:
        """∫ρ, by the closed form of each function's integral."""
        return self.basis.electrons(self.molecule.atomic_numbers, (part.tolist() for part in self.coefficients))


def stored_density(reference: Reference, structure: str | None, name: str) -> Density:
    """The density of a structure of reference data.

    :param reference: the reference data.
    :param structure: its id; None if the data hold a single structure.
    :param name: name of the reference data in titles and error messages.
    :raises DataError: if there is no such structure, or it has no density coefficients.
    """
    row = find_structure(reference, structure, name)
    if reference.basis is None or row["coefficients"] is None:
        raise DataError(f"expected density coefficients of {row['id']!r}, {name} holds none")
    title = f"electron density of {row['id']} in {name}" + ("" if row["converged"] else ", not converged")
    coefficients = [torch.tensor(part, dtype=torch.float64) for part in row["coefficients"]]
    molecule = molecule_of(row)
    return Density(molecule, reference.basis, coefficients, title, molecule.electrons)


def predicted_density(storage: str, study: str, trial: str, molecule: Molecule, folder: str = "") -> Density:
    """The density that the network of a complete trial predicts.

    :param molecule: elements, positions and total charge.
    :param storage: local folder or URL of an object store.
    :param study: name of the study in the storage.
    :param trial: the trial's id, or its first digits.
    :param folder: folder of the user's own modules.
    :raises RecordError: if no complete trial of the study has that id, or its weights are missing.
    :raises DataError: if the trial's reference data are missing or differ, or do not contain an element or the charge
        of the molecule.
    :raises StudyFileError: if the trial does not predict the density, or its network is the user's own and was edited.
    """
    entry = find_trial(storage, study, trial)
    trained, reference = trial_data(storage, entry)
    content = read_weights(Store(storage).child(study), entry)
    make_importable(folder)
    check_trial(trained, reference)
    charges = sorted(set(reference.converged.table["charge"].to_pylist()))
    if molecule.charge not in charges:
        raise DataError(
            f"expected a molecule of a charge that the trial's data holds, {', '.join(map(str, charges))}, got one of "
            f"{molecule.charge}: a density is predicted from elements and positions alone"
        )
    configuration = trained.configuration.resolved()
    basis, coefficients = predict_density(
        restore_model(content, trained, reference),
        configuration,
        reference,
        molecule.atomic_numbers,
        molecule.positions,
        molecule.charge,
    )
    title = f"electron density of {molecule.name}, predicted by trial {entry.id[:10]} of {study}"
    return Density(molecule, basis, coefficients, title, molecule.electrons)


def difference(predicted: Density, reference: Density) -> Density:
    """The predicted density less the reference density, both restricted to the orders l that the trial predicts.

    :param predicted: of a trial.
    :param reference: of the same molecule, in the basis of the trial's reference data.
    :returns: coefficients in the predicted basis, electron · bohr^(−3/2).
    """
    kept = []
    for number, values in zip(reference.molecule.atomic_numbers, reference.coefficients, strict=True):
        orders = {shell.l for shell in predicted.basis.shells[number]}
        mask = [shell.l in orders for shell in reference.basis.shells[number] for _ in range(2 * shell.l + 1)]
        kept.append(values[torch.tensor(mask)])
    less = [mine - theirs for mine, theirs in zip(predicted.coefficients, kept, strict=True)]
    return replace(predicted, coefficients=less, title=f"{predicted.title}, less the reference", expected=0)


def trial_data(storage: str, entry: Entry) -> tuple[Trial, Reference]:
    """A trial and the reference data that it was trained on.

    :param storage: local folder or URL of an object store.
    :param entry: the trial's records.
    :raises DataError: if the reference data is missing, torn, or not reference data.
    """
    trial = entry.trial
    return trial, open_data(storage, trial.configuration.data)


def find_structure(reference: Reference, structure: str | None, name: str) -> dict[str, Any]:
    """A structure's row of reference data.

    :param reference: the reference data.
    :param name: its name, for errors.
    :param structure: its id; None if the data hold a single structure.
    :raises DataError: if there is no structure of that id.
    """
    ids = reference.table["id"].to_pylist()
    if structure is None and len(ids) == 1:
        structure = ids[0]
    if structure not in ids:
        known = ", ".join(ids[:5]) + (f" and {len(ids) - 5} others" if len(ids) > 5 else "")
        raise DataError(f"expected the id of a structure in {name}, got {structure or 'none'}; there are: {known}")
    row: dict[str, Any] = reference.table.slice(ids.index(structure), 1).to_pylist()[0]
    return row


def molecule_of(row: dict[str, Any]) -> Molecule:
    """The molecule of a row of reference data.

    :param row: with `id`, `atomic_numbers`, `positions` in Å and `charge` in e.
    """
    return Molecule(row["id"], tuple(row["atomic_numbers"]), np.array(row["positions"]), row["charge"])


def read_molecule(path: Path, frame: int, charge: int | None) -> Molecule:
    """A molecule of an extended XYZ file.

    :param path: of the file, `.xyz` or `.xyz.gz`.
    :param frame: number of the frame, counted from 0.
    :param charge: total charge, e; None: the frame's key `charge`, else 0.
    :raises DataError: as `tesseral.models.reference.exchange.extended_xyz.read_frames`; if there is no such frame, or
        no charge is given and its key `charge` is not a whole number.
    """
    from tesseral.models.reference.exchange.extended_xyz import read_frames

    chosen = next(islice(read_frames(path), frame, None), None)
    if chosen is None:
        raise DataError(f"expected frame {frame} of {path}, it has fewer")
    if chosen.cell is not None:
        raise DataError(
            f"expected a molecule in empty space, frame {frame} of {path} is periodic, and its density is none that "
            'this basis expands; pbc="F F F" in its comment line makes it a molecule'
        )
    if charge is None:
        charge = chosen.charge("--charge states it instead") or 0
    return Molecule(f"frame {frame} of {path.name}", chosen.atomic_numbers, chosen.positions, charge)
