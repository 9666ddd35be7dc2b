"""Reference data made ready: splits, batches, and geometry that is computed once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tesseral.models.data import data_set
from tesseral.models.data.data_set import DataSet, collate, open_data_set
from tesseral.models.data.reference_file import Reference
from tesseral.models.data.split import check_folds, check_splits, permutation, split_structures
from tesseral.models.networks.graph import EdgeBasis, build_graph, molecule_graph
from tesseral.study.configuration.configuration import Configuration, Data
from tesseral.study.configuration.network import Network
from tesseral.study.errors import DataError
from tests.support.synthetic_density import BASIS, small_configuration, synthetic_reference, with_column

CPU = torch.device("cpu")
SETTINGS = small_configuration().network


@pytest.fixture(scope="module")
def reference() -> Reference:
    return synthetic_reference(8)


def asking(network: Network) -> Configuration:
    return replace(small_configuration(), network=network)


def test_a_structure_holds_what_was_stored(reference):
    data = DataSet(reference, SETTINGS, torch.float64, CPU)
    row, batch = reference.table.slice(1, 1).to_pylist()[0], data.structures[1]
    assert batch.graph.species.tolist() == [1, 0, 0, 1, 0, 0]
    assert batch.graph.elements.tolist() == [[0, 1], [1, 0], [1, 0]] * 2
    assert batch.values.flatten()[batch.filled].tolist() == [c for atom in row["coefficients"] for c in atom]
    assert batch.values[1].tolist() == (row["coefficients"][1][:1] + [0.0] + row["coefficients"][1][1:] + [0.0] * 21)
    matrix = batch.overlap[0].numpy()
    assert np.array_equal(matrix, matrix.T)
    assert matrix[np.tril_indices(len(matrix))].tolist() == row["overlap"]
    positions = torch.tensor(row["positions"], dtype=torch.float64)
    expected = build_graph(batch.graph.species, positions, 2, EdgeBasis(cutoff=3.5, lmax=2, number=6))
    weights = torch.tensor(row["atomic_numbers"], dtype=torch.float64)[:, None]
    centred = positions - (weights * positions).sum(dim=0) / weights.sum()
    torch.testing.assert_close(batch.graph.positions, centred, rtol=0, atol=1e-14)
    expected = expected._replace(positions=batch.graph.positions)
    assert all(torch.equal(a, b) for a, b in zip(batch.graph, expected, strict=True))


def test_batches_are_structures_side_by_side(reference):
    data = DataSet(reference, SETTINGS, torch.float32, CPU)
    batch, parts = data.batch([3, 0, 5]), [data.structures[i] for i in (3, 0, 5)]
    assert batch.size == 3
    assert batch.graph.structure.tolist() == [0] * 6 + [1] * 3 + [2] * 6
    assert torch.equal(batch.values, torch.cat([part.values for part in parts]))
    assert torch.equal(batch.graph.structure[batch.graph.source], batch.graph.structure[batch.graph.destination])
    edges = [len(part.graph.source) for part in parts]
    shifts = torch.repeat_interleave(torch.tensor([0, 6, 9]), torch.tensor(edges))
    assert torch.equal(batch.graph.source - shifts, torch.cat([part.graph.source for part in parts]))
    assert [matrix is part.overlap[0] for matrix, part in zip(batch.overlap, parts, strict=True)] == [True] * 3
    values = [part.values.flatten()[part.filled] for part in parts]
    assert torch.equal(batch.values.flatten()[batch.filled], torch.cat(values))
    assert batch.graph.radial.dtype == batch.overlap[0].dtype == torch.float32
    assert collate([parts[:1], parts])[0] is parts[0]


@pytest.mark.parametrize("together", [0, 10**9])
def test_batches_that_are_joined_together_are_those_of_one_at_a_time(together, reference, monkeypatch):
    monkeypatch.setattr(data_set, "JOINED", together)
    data = DataSet(reference, SETTINGS, torch.float32, CPU)
    runs = [[3, 0, 5], [1], [2, 4], [5, 3, 2, 1, 0]]
    several = list(data.batches(runs))
    for batch, run in zip(several, runs, strict=True):
        alone = data.batch(run)
        assert all(torch.equal(one, other) for one, other in zip(batch.graph, alone.graph, strict=True))
        assert torch.equal(batch.values, alone.values)
        assert torch.equal(batch.filled, alone.filled)
        assert [id(matrix) for matrix in batch.overlap] == [id(matrix) for matrix in alone.overlap]
        joined = [*batch.graph, batch.values, batch.filled] if len(run) > 1 else []
        assert all(part.data_ptr() % 64 == 0 for part in joined if part.numel())
    shared = several[0].values.untyped_storage().data_ptr() == several[2].values.untyped_storage().data_ptr()
    assert shared == (together > 0)
    assert several[1] is data.structures[1]
    assert list(data.batches([])) == []


@pytest.mark.parametrize("cutoff", [3.5, 0.1], ids=["with edges", "without edges"])
def test_no_more_structures_are_joined_than_are_small(cutoff, reference, monkeypatch):
    monkeypatch.setattr(data_set, "JOINED", 30)
    data, read = DataSet(reference, Network(radial_cutoff=cutoff), torch.float32, CPU), []

    def runs():
        for number in range(100):
            read.append(number)
            yield [0, 1]

    batches = data.batches(runs())
    next(batches)
    assert 0 < len(read) <= 4
    assert sum(1 for _ in batches) == 99


def test_neighbors(reference):
    data = DataSet(reference, SETTINGS, torch.float64, CPU)
    counts = []
    for row in reference.table.slice(0, 4).to_pylist():
        distances = np.linalg.norm(np.array(row["positions"])[:, None] - np.array(row["positions"]), axis=-1)
        counts += ((distances < 3.5).sum(axis=1) - 1).tolist()
    assert data.neighbors(range(4)) == pytest.approx(np.mean(counts), rel=1e-14)
    lonely = DataSet(reference, Network(radial_cutoff=0.1), torch.float64, CPU)
    with pytest.raises(DataError, match=r"network\.radial_cutoff: expected a distance"):
        lonely.neighbors(range(4))


def test_geometry_is_computed_once(reference, monkeypatch):
    from tesseral.models.data import data_set

    calls = []
    monkeypatch.setattr(data_set, "molecule_graph", lambda *a, **k: calls.append(1) or molecule_graph(*a, **k))
    settings = Network(radial_cutoff=2.75, harmonics_lmax=2)
    first = open_data_set(reference, asking(settings), torch.float32, CPU)
    again = open_data_set(
        synthetic_reference(8), asking(Network(radial_cutoff=2.75, harmonics_lmax=2)), torch.float32, CPU
    )
    assert again is first
    assert len(calls) == 8
    assert open_data_set(reference, asking(settings), torch.float64, CPU) is not first
    for other in ({"radial_cutoff": 2.7}, {"radial_basis": "bessel"}, {"radial_envelope": "polynomial"}):
        assert open_data_set(reference, asking(replace(settings, **other)), torch.float32, CPU) is not first
    assert open_data_set(synthetic_reference(8, seed=1), asking(settings), torch.float32, CPU) is not first


def test_splits_are_disjoint_and_nested():
    small = split_structures(Data(reference="x", train=3, validation=2, test=4), range(20), seed=5)
    large = split_structures(Data(reference="x", train=9, validation=2, test=4), range(20), seed=5)
    assert [len(part) for part in large] == [9, 2, 4]
    assert len(set().union(*large)) == 15
    assert large.train[:3] == small.train
    assert (large.validation, large.test) == (small.validation, small.test)
    assert split_structures(Data(reference="x", train=3, validation=2, test=4), range(20), seed=6) != small


def test_folds_test_each_structure_once_and_train_on_others():
    data = Data(reference="x", train=9, validation=2, test=4)
    folds = [split_structures(data, range(20), seed=5, fold=fold) for fold in range(5)]
    assert sorted(index for split in folds for index in split.test) == list(range(20))
    for split in folds:
        assert [len(part) for part in split] == [9, 2, 4]
        assert len(set().union(*split)) == 15
    assert len({split.train for split in folds}) == 5
    smaller = split_structures(replace(data, train=3), range(20), seed=5, fold=2)
    assert folds[2].train[:3] == smaller.train, "nested"
    assert (folds[2].validation, folds[2].test) == (smaller.validation, smaller.test)
    assert folds[0].test == split_structures(data, range(20), seed=5).test


def test_folds_must_fit_into_the_data():
    data = Data(reference="x", train=9, validation=2, test=4)
    check_folds(data, 20, "the structures", blocks=5)
    check_folds(data, 20, "the structures", blocks=0)
    sentence = (
        r"replication.split: expected blocks × test of at most 20, the structures, for the disjoint test splits of "
        r'"folds", got 6 × 4 = 24; "random" splits may overlap'
    )
    with pytest.raises(DataError, match=sentence):
        check_folds(data, 20, "the structures", blocks=6)


def test_a_permutation_is_the_same_for_ever():
    assert sorted(permutation(3, 50)) == list(range(50))
    assert permutation(2**62 + 1, 8) == [2, 7, 3, 0, 1, 6, 5, 4]


def test_too_few_structures(reference):
    check_splits(Data(reference="a.parquet", train=5, validation=1, test=2), reference)
    with pytest.raises(DataError) as caught:
        check_splits(Data(reference="a.parquet", train=6, validation=1, test=2), reference)
    assert str(caught.value) == (
        "data.train: expected train + validation + test of at most 8, the converged structures of a.parquet, "
        "got 6 + 1 + 2 = 9"
    )


def test_structures_that_did_not_converge_are_not_trained_on(reference):
    partial = with_column(reference, "converged", [True] * 5 + [False] + [True] * 2)
    data = DataSet(partial, SETTINGS, torch.float64, CPU)
    assert len(data) == 7
    whole = DataSet(reference, SETTINGS, torch.float64, CPU)
    assert torch.equal(data.structures[5].values, whole.structures[6].values)
    with pytest.raises(DataError, match="at most 7"):
        check_splits(Data(reference="a.parquet", train=6, test=2), partial)


def test_a_structure_without_overlap_is_named(reference):
    overlaps = reference.table["overlap"].to_pylist()
    overlaps[2] = None
    with pytest.raises(DataError, match="'synthetic-2' has none"):
        DataSet(with_column(reference, "overlap", overlaps), SETTINGS, torch.float64, CPU)


def test_atoms_at_one_place_are_named(reference):
    positions = reference.table["positions"].to_pylist()
    positions[3][1] = positions[3][0]
    with pytest.raises(DataError, match=r"'synthetic-3'.*two at one place"):
        DataSet(with_column(reference, "positions", positions), SETTINGS, torch.float64, CPU)


def test_the_basis_needs_no_hydrogen_first():
    """Elements are numbered by atomic number, whatever their order in the file."""
    reference = synthetic_reference(2)
    turned = type(BASIS)(BASIS.name, dict(sorted(BASIS.shells.items())))
    first = DataSet(reference, SETTINGS, torch.float64, CPU).structures[0]
    second = DataSet(Reference(reference.table, turned), SETTINGS, torch.float64, CPU).structures[0]
    assert list(turned.shells) != list(BASIS.shells)
    assert torch.equal(first.graph.species, second.graph.species)
    assert torch.equal(first.values, second.values)
