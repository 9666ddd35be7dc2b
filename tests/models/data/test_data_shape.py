"""The shape of a data set: the edges that training sees, from data or from a recipe alone."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyscf import scf

from tesseral.models.data import data_shape as shape
from tesseral.models.data.data_shape import count_edges, reference_shape
from tesseral.models.data.reference_file import Reference, read_reference
from tesseral.models.networks.graph import EdgeBasis, build_graph
from tesseral.models.reference.geometries.expected_shape import recipe_shape
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.parsing.irreps import format_irreps
from tesseral.study.recipe.recipe import read_recipe
from tests.support.synthetic_density import BASIS, synthetic_reference
from tests.support.water_study import EXAMPLES


def edges(positions: list[list[float]], cutoff: float) -> int:
    """What a network sees."""
    points = torch.tensor(positions, dtype=torch.float64)
    edges = EdgeBasis(cutoff=cutoff, lmax=0, number=1)
    graph = build_graph(torch.zeros(len(points), dtype=torch.int64), points, 1, edges)
    return len(graph.source)


@pytest.mark.parametrize("cutoff", [0.5, 2.0, 3.5, 20.0])
def test_edges_are_those_of_the_graph(cutoff):
    generator = np.random.default_rng(0)
    for atoms in (1, 2, 7, 30):
        positions = 2 * generator.normal(size=(atoms, 3))
        assert count_edges(positions, cutoff) == edges(positions.tolist(), cutoff)


def test_an_atom_at_the_cutoff_is_no_neighbour():
    positions = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    assert count_edges(positions, 2.0) == edges(positions.tolist(), 2.0) == 0
    assert count_edges(positions, np.nextafter(2.0, 3.0)) == 2


@pytest.mark.parametrize("cutoff", [1.5, 3.5])
def test_means_over_the_structures(tiny_reference, cutoff):
    reference = read_reference(tiny_reference)
    shape = reference_shape(reference, cutoff)
    counts = [edges(positions, cutoff) for positions in reference.table["positions"].to_pylist()]
    assert shape.edges == sum(counts) / 14
    assert shape.atoms == (10 * 3 + 4 * 6) / 14
    assert shape.elements == 2
    assert shape.layout == reference.basis.layout


@pytest.mark.parametrize("cutoff", [1.5, 2.7, 3.5])
def test_a_recipe_has_the_shape_of_its_data(tiny_reference, cutoff, monkeypatch):
    expected = reference_shape(read_reference(tiny_reference), cutoff)

    def refuse(*arguments: object, **keywords: object) -> None:
        raise AssertionError("a calculation was run")

    monkeypatch.setattr(scf.hf.SCF, "kernel", refuse)
    assert recipe_shape(read_recipe(EXAMPLES / "water_tiny.toml"), cutoff) == expected


def test_contracted_shells_count_once():
    recipe = read_recipe(EXAMPLES / "water_tiny.toml")
    shape = recipe_shape(replace(recipe, method=replace(recipe.method, decontracted=False)), 3.5)
    assert format_irreps(shape.layout) == "6x0e+4x1o+3x2e+1x3o+1x4e"  # def2-universal-jfit of oxygen
    assert format_irreps(recipe_shape(recipe, 3.5).layout) == "12x0e+5x1o+4x2e+2x3o+1x4e"


def test_an_unknown_basis_is_refused():
    recipe = read_recipe(EXAMPLES / "water_tiny.toml")
    with pytest.raises(StudyFileError, match=r"method\.auxiliary_basis"):
        recipe_shape(replace(recipe, method=replace(recipe.method, auxiliary_basis="no-such-basis")), 3.5)


def test_many_structures_are_sampled_evenly(monkeypatch):
    reference = synthetic_reference(12)
    monkeypatch.setattr(shape, "COUNTED", 4)
    positions = reference.table["positions"].to_pylist()
    measured = reference_shape(reference, 2.0)
    assert measured.edges == sum(edges(positions[index], 2.0) for index in (0, 3, 6, 9)) / 4
    assert measured.atoms == (3 + 6 + 3 + 6) / 4


def test_only_converged_structures_count():
    reference = synthetic_reference(4)
    place = reference.table.column_names.index("converged")

    def converged(*flags: bool) -> Reference:
        return Reference(reference.table.set_column(place, "converged", pa.array(flags)), BASIS)

    assert reference_shape(converged(True, False, True, False), 2.0).atoms == 3
    assert reference_shape(converged(False, True, True, True), 2.0).atoms == 5
    with pytest.raises(DataError, match="at least one converged structure"):
        reference_shape(converged(False, False, False, False), 2.0)
