"""Losses and the target's scaling, against plain numpy."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tesseral.models.data.data_set import DataSet
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis, Shell
from tesseral.models.targets.density import DensityTarget
from tesseral.models.targets.loss import CoulombLoss, EqualLoss, OverlapLoss, RawLoss
from tesseral.study.configuration.quantities import QUANTITIES
from tesseral.study.configuration.target import Loss
from tests.support.synthetic_density import BASIS, small_configuration, synthetic_reference

DENSITY = QUANTITIES["density"]
ORDERS = np.repeat([0, 0, 1, 2, 3, 4], [1, 1, 3, 5, 7, 9])
COLUMNS = {8: list(range(26)), 1: [0, 2, 3, 4]}


@pytest.fixture(scope="module")
def data() -> DataSet:
    return DataSet(
        synthetic_reference(8), small_configuration().network, torch.float64, torch.device("cpu"), coulomb=True
    )


def atoms(data: DataSet) -> tuple[torch.Tensor, torch.Tensor]:
    """Coefficients and species of all of them."""
    whole = data.batch(range(8))
    return whole.values, whole.graph.species


def equal_loss(target: DensityTarget, values: torch.Tensor, species: torch.Tensor, structures: int) -> EqualLoss:
    return EqualLoss(target.y(values, species), species, structures, to_y=target.to_y, order=target.order)


def rackers(rows: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """y of the stored rows, (atoms, 26), and the atoms' elements, by the formula alone."""
    values, numbers = [], []
    for row in rows:
        for number, given in zip(row["atomic_numbers"], row["coefficients"], strict=True):
            y = np.zeros(26)
            shells = [shell for shell in BASIS.shells[number] for _ in range(2 * shell.l + 1)]
            y[COLUMNS[number]] = [
                (c - shell.isolated) * 2 * 2**0.5 / shell.norm for c, shell in zip(given, shells, strict=True)
            ]
            values.append(y)
            numbers.append(number)
    return np.array(values), np.array(numbers)


def perturbed(batch, seed=0):
    """Predictions with an error in every coefficient that an element has, and the error."""
    generator = torch.Generator().manual_seed(seed)
    error = torch.randn(batch.values.shape, dtype=torch.float64, generator=generator)
    error[batch.graph.species == 0] *= torch.isin(torch.arange(26), torch.tensor(COLUMNS[1]))
    return error


def error_rows(rows: list[dict], error: torch.Tensor) -> list[dict]:
    """The rows with the error added to their coefficients."""
    atoms = iter(error.numpy())
    return [
        row
        | {
            "coefficients": [
                (np.array(c) + next(atoms)[COLUMNS[number]]).tolist()
                for number, c in zip(row["atomic_numbers"], row["coefficients"], strict=True)
            ]
        }
        for row in rows
    ]


def test_columns_of_an_element():
    assert BASIS.columns(8) == COLUMNS[8]
    assert BASIS.columns(1) == COLUMNS[1]


def test_charge_of_a_shell_is_its_integral():
    """∫ (2a/π)^¾ exp(−ar²) d³r on a radial grid, and a contraction of two."""
    r = np.linspace(0, 30, 200001)
    for exponents, weights in (((0.7,), (1.0,)), ((1.3, 0.2), (0.4, 0.7))):
        shell = Shell(0, exponents, weights)
        values = sum(d * (2 * a / np.pi) ** 0.75 * np.exp(-a * r**2) for a, d in zip(exponents, weights, strict=True))
        assert shell.charge == pytest.approx(np.trapezoid(4 * np.pi * r**2 * values, r), rel=1e-8)
    assert Shell(1, (0.7,), (1.0,)).charge == 0


def test_raw_loss(data):
    batch, rows = data.batch([0, 1, 2]), data.reference.table.slice(0, 3).to_pylist()
    target = DensityTarget(DENSITY, BASIS, "none")
    error = perturbed(batch)
    difference = rackers(error_rows(rows, error))[0] - rackers(rows)[0]
    assert float(RawLoss(target.to_y)(error, batch)) == pytest.approx((difference**2).mean(), rel=1e-12)


def test_equal_loss(data):
    """Over the whole split it is the mean over l of Σerr²/Σ(y−ȳ)², whatever the batches."""
    rows = data.reference.table.to_pylist()
    y, numbers = rackers(rows)
    centred = y.copy()
    for number in (1, 8):
        centred[numbers == number] -= np.where(ORDERS == 0, y[numbers == number].mean(axis=0), 0)
    whole = data.batch(range(8))
    error = perturbed(whole)
    difference = rackers(error_rows(rows, error))[0] - y
    blocks = [order == ORDERS for order in range(5)]
    expected = np.mean([(difference[:, block] ** 2).sum() / (centred[:, block] ** 2).sum() for block in blocks])
    loss = equal_loss(DensityTarget(DENSITY, BASIS, "none"), *atoms(data), 8)
    assert float(loss(error, whole)) == pytest.approx(expected, rel=1e-12)
    parts, first = 0.0, 0
    for indices in ((0, 1, 2), (3, 4, 5), (6, 7)):
        batch = data.batch(indices)
        last = first + len(batch.values)
        parts += float(loss(error[first:last], batch)) * len(indices) / 8
        first = last
    assert parts == pytest.approx(expected, rel=1e-12)


def test_equal_loss_leaves_out_an_order_without_spread(data):
    coefficients, species = atoms(data)
    coefficients = coefficients.clone()
    coefficients[:, ORDERS == 4] = 0
    loss = equal_loss(DensityTarget(DENSITY, BASIS, "none"), coefficients, species, 8)
    assert (loss.weight[:, ORDERS == 4] == 0).all()
    full = equal_loss(DensityTarget(DENSITY, BASIS, "none"), *atoms(data), 8)
    assert torch.allclose(loss.weight[:, ORDERS < 4], full.weight[:, ORDERS < 4] * 5 / 4)


def test_overlap_loss_of_structures_of_different_size(data):
    rows = data.reference.table.slice(0, 3).to_pylist()
    batch = data.batch([0, 1, 2])
    error = perturbed(batch)
    expected, first = [], 0
    for row in rows:
        vector = np.concatenate(
            [error[first + i].numpy()[COLUMNS[number]] for i, number in enumerate(row["atomic_numbers"])]
        )
        first += len(row["atomic_numbers"])
        matrix = np.zeros((len(vector), len(vector)))
        matrix[np.tril_indices(len(vector))] = row["overlap"]
        matrix = matrix + matrix.T - np.diag(matrix.diagonal())
        expected.append(vector @ matrix @ vector)
    assert float(OverlapLoss()(error, batch)) == pytest.approx(np.mean(expected), rel=1e-12)


@pytest.mark.parametrize("name", ["raw", "equal", "overlap", "coulomb"])
def test_the_loss_of_a_batch_is_the_mean_of_its_parts(data, name):
    """Weighted by their denominators: structures of three and of six atoms, in parts of 2, 3 and 3."""
    loss = DensityTarget(DENSITY, BASIS, "none").build_loss(Loss(name=name), data.select(range(8)))
    parts = [data.batch(part) for part in ((0, 2), (4, 1, 3), (5, 6, 7))]
    whole = data.batch((0, 2, 4, 1, 3, 5, 6, 7))
    error = perturbed(whole)
    errors = error.split([len(part.values) for part in parts])
    losses = [float(loss(*pair)) for pair in zip(errors, parts, strict=True)]
    weights = [loss.denominator(part) for part in parts]
    assert sum(weights) == loss.denominator(whole)
    assert np.average(losses, weights=weights) == pytest.approx(float(loss(error, whole)), rel=1e-13)
    if name == "raw":
        assert np.average(losses, weights=[2, 3, 3]) != pytest.approx(float(loss(error, whole)), rel=1e-3)


def test_losses_by_name(data):
    target = DensityTarget(DENSITY, BASIS, "none")
    for name, kind in (("raw", RawLoss), ("equal", EqualLoss), ("overlap", OverlapLoss), ("coulomb", CoulombLoss)):
        assert isinstance(target.build_loss(Loss(name=name), data.select(range(8))), kind)


def test_outputs_without_scale_are_y(data):
    batch, rows = data.batch(range(8)), data.reference.table.to_pylist()
    y, _ = rackers(rows)
    target = DensityTarget(DENSITY, BASIS, "none")
    species = batch.graph.species
    target.fit(batch.values, species)
    assert torch.allclose(target(torch.from_numpy(y), species), batch.values, rtol=0, atol=1e-13)
    assert torch.allclose(target.y(batch.values, species), torch.from_numpy(y), rtol=0, atol=1e-12)


def test_outputs_scaled_by_shell(data):
    """Outputs of zero are the mean s coefficients; those of one are one spread away, in every shell."""
    coefficients, species = atoms(data)
    target = DensityTarget(DENSITY, BASIS, "spread")
    target.fit(coefficients, species)
    c, oxygen = coefficients.numpy(), (species == 1).numpy()
    zero, one = (target(torch.full_like(coefficients, x), species).numpy() for x in (0.0, 1.0))
    assert zero[oxygen][0, :2] == pytest.approx(c[oxygen][:, :2].mean(axis=0), rel=1e-12)
    assert (zero[oxygen][:, 2:] == 0).all()
    spread = one[oxygen][0] - zero[oxygen][0]
    assert spread[:2] == pytest.approx(c[oxygen][:, :2].std(axis=0), rel=1e-12)
    assert spread[2:5] == pytest.approx([np.sqrt((c[oxygen][:, 2:5] ** 2).mean())] * 3, rel=1e-12)
    assert spread[10:17] == pytest.approx([np.sqrt((c[oxygen][:, 10:17] ** 2).mean())] * 7, rel=1e-12)
    absent = [column for column in range(26) if column not in COLUMNS[1]]
    assert (one[~oxygen][:, absent] == 0).all()


def test_an_element_that_the_training_split_lacks_keeps_its_norms():
    basis = AuxiliaryBasis("three", BASIS.shells | {7: BASIS.shells[8]})
    target, plain = DensityTarget(DENSITY, basis, "spread"), DensityTarget(DENSITY, basis, "none")
    target.fit(torch.ones(4, 26, dtype=torch.float64), torch.tensor([0, 0, 2, 2]))
    assert torch.equal(target.factor[1], plain.factor[1])
    assert not torch.equal(target.factor[2], plain.factor[2])


CONTRACTED = AuxiliaryBasis(
    "contracted",
    {
        8: (
            Shell(0, (9.0, 0.5), (-0.6, 0.5), 0.3),
            Shell(0, (0.8,), (1.0,), 2.0),
            Shell(1, (4.0, 0.9), (-0.9, 0.4)),
        ),
        1: (Shell(0, (0.7,), (1.0,), 0.6), Shell(1, (3.0, 0.6), (0.3, -1.1))),
    },
)
"""Oxygen's first s shell, its p shell and hydrogen's p shell have negative norms."""


@pytest.fixture
def contracted() -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Coefficients and elements of atoms in that basis, and 2√2/N of every column."""
    species = torch.tensor([1, 0, 0, 1, 0, 0, 1, 0])
    coefficients = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    coefficients[species == 0, 1] = 0
    to_y = np.zeros((2, 5))
    for row, number in enumerate((1, 8)):
        shells = [shell for shell in CONTRACTED.shells[number] for _ in range(2 * shell.l + 1)]
        to_y[row, CONTRACTED.columns(number)] = [
            2 * 2**0.5 / sum(d * (2 * a / np.pi) ** 0.75 * (4 * a) ** (shell.l / 2) for d, a in primitives)
            for shell, primitives in ((one, zip(one.coefficients, one.exponents, strict=True)) for one in shells)
        ]
    assert (to_y[1, [0, 2, 3, 4]] < 0).all()
    return coefficients, species, to_y


@pytest.mark.parametrize("scale", ["none", "spread"])
def test_a_shell_of_negative_norm_is_predicted(contracted, scale):
    """Every column of an element answers to its output, by the spread of the shell or by N/(2√2), sign and all."""
    coefficients, species, to_y = contracted
    target = DensityTarget(DENSITY, CONTRACTED, scale)
    target.fit(coefficients, species)
    generator = torch.Generator().manual_seed(3)
    outputs = torch.randn(8, 5, dtype=torch.float64, generator=generator)
    outputs[species == 0, 1] = 0
    c = target(outputs, species)
    slopes = (c - target(torch.zeros_like(outputs), species)) / outputs
    there = torch.from_numpy(to_y)[species] != 0
    if scale == "none":
        torch.testing.assert_close(slopes[there], 1 / torch.from_numpy(to_y)[species][there])
        torch.testing.assert_close(target.y(c, species), outputs)
    else:
        assert (slopes[there] > 0).all()
        oxygen = coefficients[species == 1].numpy()
        assert slopes[0, 0] == pytest.approx(oxygen[:, 0].std(), rel=1e-12)
        assert slopes[0, 2] == pytest.approx(np.sqrt((oxygen[:, 2:] ** 2).mean()), rel=1e-12)


def test_losses_of_shells_of_negative_norm(contracted):
    coefficients, species, to_y = contracted
    target = DensityTarget(DENSITY, CONTRACTED, "none")
    error = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    error[species == 0, 1] = 0
    batch = SimpleNamespace(graph=SimpleNamespace(species=species), size=2)
    wrong = error.numpy() * to_y[species]
    assert float(RawLoss(target.to_y)(error, batch)) == pytest.approx((wrong**2).mean(), rel=1e-12)
    isolated = np.array([[0.6, 0, 0, 0, 0], [0.3, 2.0, 0, 0, 0]])
    y = (coefficients.numpy() - isolated[species]) * to_y[species]
    for element in (0, 1):
        atoms = species.numpy() == element
        y[atoms, :2] -= y[atoms, :2].mean(axis=0)
    expected = np.mean([(wrong[:, part] ** 2).sum() / (y[:, part] ** 2).sum() for part in (slice(0, 2), slice(2, 5))])
    assert float(equal_loss(target, coefficients, species, 2)(error, batch)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["overlap", "coulomb", "equal", "raw"])
def test_orders_are_weighted_in_every_loss_of_a_density(data, name):
    """The loss of an error whose parts are scaled by the roots of the weights; the last weight holds above."""
    target = DensityTarget(DENSITY, BASIS, "spread")
    structures = data.select(range(8))
    target.standardise(structures)
    batch = data.batch(range(8))
    error = perturbed(batch)
    plain = target.build_loss(Loss(name=name), structures)
    loss = target.build_loss(Loss(name=name, orders=(1.0, 4.0, 0.0, 9.0)), structures)
    roots = torch.tensor([1.0, 2.0, 0.0, 3.0, 3.0], dtype=torch.float64)[torch.from_numpy(ORDERS)]
    torch.testing.assert_close(loss(error, batch), plain(error * roots, batch))
    assert loss.denominator(batch) == plain.denominator(batch)
    alike = target.build_loss(Loss(name=name, orders=(2.0,)), structures)
    torch.testing.assert_close(alike(error, batch), 2 * plain(error, batch))


def test_the_equal_loss_weighs_the_terms_of_the_orders(data):
    target = DensityTarget(DENSITY, BASIS, "spread")
    structures = data.select(range(8))
    target.standardise(structures)
    batch, weights = data.batch(range(8)), (0.5, 2.0, 1.0, 3.0, 7.0)
    error = perturbed(batch)
    plain = target.build_loss(Loss(name="equal"), structures)
    parts = [plain(error * (torch.from_numpy(ORDERS) == order), batch) for order in range(5)]
    loss = target.build_loss(Loss(name="equal", orders=weights), structures)
    expected = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    torch.testing.assert_close(loss(error, batch), expected)
