"""Reference data of properties without quantum chemistry: every column is a closed function of the geometry."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from e3nn import o3

from tesseral.models.data.reference_file import Reference, label_type
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.network import Hidden, Network
from tesseral.study.configuration.quantities import Label
from tesseral.study.configuration.target import Loss, Target
from tesseral.study.configuration.training import Training
from tesseral.study.constants import BOHR
from tesseral.study.parsing.irreps import parse_irreps
from tesseral.study.records.schemas import REFERENCE, to_table
from tests.support.synthetic_density import WATER, rotations

LABELS = {
    "strain": Label(parse_irreps("1x2e+1x0e"), "bohr^3", "structure"),
    "shift": Label(parse_irreps("2x0e+1x1o"), "ppm", "atom"),
}
ATOMIC = {1: -0.5, 8: -75.0}
"""Energies of the atoms, hartree."""


def energy(numbers: Sequence[int], positions: torch.Tensor) -> torch.Tensor:
    """Σ_i a(Z_i) + 0.1 Σ_{i<j} Z_i^½ Z_j^½ exp(−r_ij), r in Å."""
    i, j = np.triu_indices(len(numbers), 1)
    distances = (positions[i] - positions[j]).norm(dim=1)
    strengths = torch.tensor([(numbers[a] * numbers[b]) ** 0.5 for a, b in zip(i, j, strict=True)])
    return sum(ATOMIC[number] for number in numbers) + 0.1 * (strengths * (-distances).exp()).sum()


def fields(numbers: Sequence[int], positions: torch.Tensor, lmax: int = 3) -> list[torch.Tensor]:
    """For each l, Σ_j Z_j^½ exp(−r_ij) Y_l(r_j − r_i) of each atom i, (atoms, 2l+1)."""
    vectors = positions[None] - positions[:, None]
    distances = vectors.norm(dim=2)
    weights = torch.tensor(numbers).sqrt() * (-distances).exp() * (distances > 0)
    harmonics = o3.spherical_harmonics(list(range(lmax + 1)), vectors, normalize=True, normalization="component")
    sums = (weights[..., None] * harmonics).sum(dim=1)
    return list(sums.split([2 * order + 1 for order in range(lmax + 1)], dim=1))


def row(name: str, numbers: Sequence[int], positions: np.ndarray, charge: int = 0) -> dict:
    """Every column of `REFERENCE` that can be a target, and the labels."""
    points = torch.tensor(positions, dtype=torch.float64, requires_grad=True)
    total = energy(numbers, points)
    (gradient,) = torch.autograd.grad(total, points)
    points = points.detach()
    zero, one, two, three = fields(numbers, points)
    weights = torch.tensor(numbers, dtype=torch.float64)
    centre = weights @ points / weights.sum()
    charges = torch.tensor([-0.6 if number == 8 else 0.3 for number in numbers])
    charges = charges + (charge - charges.sum()) / len(numbers)
    dipole = (charges[:, None] * (points - centre) / BOHR + 0.1 * one).sum(dim=0)
    homo, lumo = -0.5 + 0.05 * zero.mean(), 0.1 - 0.02 * zero.mean()
    return {
        "id": name,
        "atomic_numbers": list(numbers),
        "positions": positions.tolist(),
        "charge": charge,
        "spin": 0,
        "converged": True,
        "energy": float(total.detach()),
        "forces": (-BOHR * gradient).tolist(),
        "dipole": dipole.tolist(),
        "quadrupole": (0.5 * two.sum(dim=0)).tolist(),
        "octupole": (0.7 * three.sum(dim=0)).tolist(),
        "polarizability": [float((3 + 0.5 * zero).sum()), *(0.4 * two.sum(dim=0)).tolist()],
        "homo": float(homo),
        "lumo": float(lumo),
        "gap": float(lumo - homo),
        "r2": float((7 + 2 * zero).sum()),
        "label.strain": [*two.sum(dim=0).tolist(), float(zero.sum())],
        "label.shift": torch.cat([30 + zero, 2 * zero - 1, one], dim=1).tolist(),
    }


def property_table(rows: list[dict]) -> Reference:
    """Rows without a density as reference data."""
    table = to_table(rows, REFERENCE)
    for name, label in LABELS.items():
        values = pa.array([one[f"label.{name}"] for one in rows], label_type(label))
        table = table.append_column(f"label.{name}", values)
    return Reference(table, None, LABELS)


def property_reference(structures: int = 24, seed: int = 0, charged: bool = False) -> Reference:
    """Water molecules and pairs of them by turns, distorted, turned and moved at random; ions too if `charged`."""
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(structures):
        molecules = 1 + index % 2
        parts = [
            (WATER + 0.1 * generator.normal(size=WATER.shape)) @ turn.T + [2.6 * molecule, 0, 0]
            for molecule, turn in enumerate(rotations(molecules, generator))
        ]
        charge = (index % 3) - 1 if charged else 0
        rows.append(row(f"synthetic-{index}", [8, 1, 1] * molecules, np.concatenate(parts), charge))
    return property_table(rows)


def property_configuration(quantity: str, *, scale: str = "spread", loss: Loss | None = None, **training: object):
    """A network that trains in milliseconds a step."""
    return Configuration(
        data=Data(reference="reference/synthetic.parquet", train=12, validation=4, test=6),
        network=Network(
            hidden=Hidden(irreps="6x0e+2x0o+4x1e+4x1o+2x2e+2x2o"),
            layers=2,
            harmonics_lmax=3,
            radial_functions=6,
            radial_width=12,
        ),
        target=Target(quantity=quantity, scale=scale),
        loss=loss or Loss(),
        training=Training(**({"epochs": 4, "batch_size": 4} | training)),
    ).resolved()
