"""Reference data without quantum chemistry: coefficients are an equivariant function of the geometry."""

import numpy as np
import pyarrow as pa
import torch
from e3nn import o3

from tesseral.models.data.reference_file import Reference
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis, Shell
from tesseral.models.networks.network import build_network
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.network import Hidden, Network
from tesseral.study.configuration.target import Loss, Target
from tesseral.study.configuration.training import Training
from tesseral.study.configuration.trial import Seeds, Trial
from tesseral.study.records.schemas import REFERENCE, to_table

BASIS = AuxiliaryBasis(
    "synthetic",
    {
        8: (
            Shell(0, (6.0,), (1.0,), 1.5),
            Shell(0, (0.8,), (1.0,), 2.0),
            *(Shell(order, (0.9,), (1.0,)) for order in range(1, 5)),
        ),
        1: (Shell(0, (0.7,), (1.0,), 0.6), Shell(1, (0.8,), (1.0,))),
    },
)
"""Oxygen 2s1p1d1f1g, hydrogen 1s1p: 26 columns."""

EMPTY = Reference(to_table([], REFERENCE), BASIS)
"""What a model is built from: elements and basis, without a structure."""

WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
"""O, H, H; Å."""


def rotations(number: int, generator: np.random.Generator) -> np.ndarray:
    """Random rotation matrices, (number, 3, 3)."""
    matrices, _ = np.linalg.qr(generator.normal(size=(number, 3, 3)))
    return matrices * np.linalg.det(matrices)[:, None, None]


def coefficients(numbers: list[int], positions: np.ndarray) -> list[list[float]]:
    """c_nlm of atom i: isolated + 0.3 Σ_j Z_j^½ exp(−r_ij) Y_lm(r_ij) / (n + l + 1), with n the shell's number."""
    points = torch.from_numpy(positions)
    rows = []
    for i, number in enumerate(numbers):
        others = [j for j in range(len(numbers)) if j != i]
        vectors = points[others] - points[i]
        strengths = torch.tensor([numbers[j] for j in others]).sqrt() * (-vectors.norm(dim=1)).exp()
        row: list[float] = []
        for n, shell in enumerate(BASIS.shells[number]):
            harmonics = o3.spherical_harmonics(shell.l, vectors, normalize=True, normalization="component")
            values = 0.3 * (strengths[:, None] * harmonics).sum(dim=0) / (n + shell.l + 1)
            row += (values + shell.isolated).tolist()
        rows.append(row)
    return rows


def overlap(size: int, generator: np.random.Generator) -> np.ndarray:
    """A symmetric positive definite matrix near the identity."""
    factor = np.eye(size) + 0.05 * generator.normal(size=(size, size)) / size**0.5
    return factor @ factor.T


def synthetic_reference(structures: int = 24, seed: int = 0) -> Reference:
    """Water molecules and pairs of them by turns, distorted, turned and moved at random."""
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(structures):
        molecules = 1 + index % 2
        numbers = [8, 1, 1] * molecules
        parts = []
        for molecule, turn in enumerate(rotations(molecules, generator)):
            distorted = WATER + 0.1 * generator.normal(size=WATER.shape)
            parts.append(distorted @ turn.T + [2.6 * molecule, 0, 0])
        positions = np.concatenate(parts)
        values = coefficients(numbers, positions)
        matrix = overlap(sum(map(len, values)), generator)
        rows.append(
            {
                "id": f"synthetic-{index}",
                "atomic_numbers": numbers,
                "positions": positions.tolist(),
                "charge": 0,
                "spin": 0,
                "converged": True,
                "coefficients": values,
                "overlap": matrix[np.tril_indices(len(matrix))].tolist(),
            }
        )
    return Reference(to_table(rows, REFERENCE), BASIS)


def with_column(reference: Reference, name: str, values: list) -> Reference:
    """The same data with one column replaced."""
    index = reference.table.column_names.index(name)
    field = reference.table.schema.field(name)
    return Reference(reference.table.set_column(index, field, pa.array(values, field.type)), reference.basis)


def small_configuration(
    *, hidden: str = "6x0e+2x0o+4x1e+4x1o+2x2e+2x2o", loss: str = "overlap", scale: str = "spread", **changes: object
) -> Configuration:
    """A network that trains in milliseconds a step; `changes` are to the `training` and `network` sections."""
    training = {name: changes.pop(name) for name in list(changes) if name in Training.__dataclass_fields__}
    return Configuration(
        data=Data(reference="reference/synthetic.parquet", train=10, validation=4, test=4),
        network=Network(
            hidden=Hidden(irreps=hidden),
            **({"layers": 2, "harmonics_lmax": 2, "radial_functions": 6, "radial_width": 12} | changes),
        ),
        target=Target(scale=scale),
        loss=Loss(name=loss),
        training=Training(**({"epochs": 4, "batch_size": 4} | training)),
    )


def density_parameters(configuration: Configuration) -> int:
    """Trainable numbers of the network that predicts a density in `BASIS`."""
    network = build_network(configuration.network, 2, BASIS.layout, num_neighbors=1.0, seed=0)
    return sum(weights.numel() for weights in network.parameters())


def synthetic_trial(reference: Reference, configuration: Configuration, **seeds: int) -> Trial:
    """A trial of the current numerics."""
    from tesseral.models.training.numerics import NUMERICS

    chosen = {"split": 1, "order": 2, "initialisation": 3} | seeds
    return Trial(
        configuration=configuration, data_hash=reference.content_hash, seeds=Seeds(**chosen), numerics=NUMERICS
    )


class Memory:
    """A recorder that keeps everything, and a checkpoint and the last values of every epoch."""

    def __init__(self) -> None:
        self.curve_rows: list[dict] = []
        self.trace_rows: list[dict] = []
        self.states: dict[int, bytes] = {}
        self.values: dict[int, dict[str, float]] = {}

    def curves(self, rows: list[dict]) -> None:
        self.curve_rows += rows

    def traces(self, rows: list[dict]) -> None:
        self.trace_rows += rows

    def boundary(self, step, steps, state, metrics) -> None:
        assert all(row["step"] <= step for row in self.curve_rows + self.trace_rows)
        self.states[step], self.values[step] = state(), metrics
