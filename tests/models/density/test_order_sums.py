"""The sums of ε in C++ against PyTorch's way, on bases of every order that it knows."""

import pytest
import torch

from tesseral.models.compiled.library import NoLibraryError
from tesseral.models.density import density, quadrature
from tesseral.models.density.auxiliary_basis import AuxiliaryBasis, Shell
from tesseral.models.density.density import epsilon_by_order
from tesseral.models.density.order_sums import LARGEST, knows
from tesseral.models.density.quadrature import Grid, atom_grid


def basis(largest: int) -> AuxiliaryBasis:
    """Diffuse and tight shells of every l, some contracted; hydrogen lacks the higher half."""
    oxygen = tuple(
        shell
        for order in range(largest + 1)
        for shell in (Shell(order, (0.3 + 0.2 * order,), (1.0,)), Shell(order, (40.0, 9.0), (0.4, 0.8)))
    )
    return AuxiliaryBasis("test", {1: tuple(shell for shell in oxygen if 2 * shell.l <= largest), 8: oxygen})


def molecule(largest: int, atoms: int = 5) -> tuple:
    """Random densities of atoms that lie up to 12 Å apart, so that most primitives are far from most points."""
    generator = torch.Generator().manual_seed(largest)
    mine, numbers = basis(largest), tuple((8, 1, 1, 8, 1)[:atoms])
    positions = 6 * torch.rand(atoms, 3, dtype=torch.float64, generator=generator)
    positions -= positions[0].clone()
    positions[-1] += 6 * (atoms > 1)
    parts = [torch.randn(mine.size(number), dtype=torch.float64, generator=generator) for number in numbers]
    reference = [part.abs() for part in parts]
    return mine, numbers, positions, [1.01 * part + 0.01 for part in reference], reference


def by_torch(monkeypatch, *given) -> dict:
    with monkeypatch.context() as only:
        only.setattr(density, "knows", lambda orders, device: False)
        return dict(epsilon_by_order(*given))


@pytest.mark.parametrize("largest", [0, 1, 4, LARGEST])
def test_they_are_those_of_torch(largest, monkeypatch):
    given = molecule(largest)
    grid = atom_grid(given[2], radii=15, precision=11)
    odd = Grid(grid.points[:-5], grid.weights[:-5])  # no whole number of chunks
    assert len(odd.points) % 64
    assert epsilon_by_order(*given, odd) == pytest.approx(by_torch(monkeypatch, *given, odd), rel=1e-11, abs=1e-12)


def test_one_atom_and_few_points(monkeypatch):
    given = molecule(2, atoms=1)
    grid = Grid(torch.tensor([[0.0, 0.1, 1.0], [1.5, 0.0, 0.5]], dtype=torch.float64), torch.ones(2).double())
    assert epsilon_by_order(*given, grid) == pytest.approx(by_torch(monkeypatch, *given, grid), rel=1e-11)


def test_above_its_orders_torch_adds_up(monkeypatch):
    assert knows([0, LARGEST], torch.device("cpu"))
    assert not knows([0, LARGEST + 1], torch.device("cpu"))
    assert not knows([0], torch.device("cuda"))
    given = molecule(LARGEST + 1, atoms=2)
    grid = atom_grid(given[2], radii=5, precision=5)
    assert dict(epsilon_by_order(*given, grid)) == by_torch(monkeypatch, *given, grid)


def test_without_a_compiler_torch_adds_up(monkeypatch):
    given = molecule(3)
    expected = epsilon_by_order(*given)

    def fails(source: str) -> None:
        raise NoLibraryError("expected a C++ compiler, found none")

    monkeypatch.setattr("tesseral.models.density.order_sums.open_library", fails)
    monkeypatch.setattr(quadrature, "open_library", fails)
    assert epsilon_by_order(*given) == pytest.approx(dict(expected), rel=1e-11)
