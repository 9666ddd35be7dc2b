"""Random water clusters: the same for the same seed, physical, and varied."""

from itertools import combinations

import numpy as np
import pytest

from tesseral.models.structures import CLOSEST, HOH_ANGLE, OH_BOND, structures, water_clusters
from tesseral.study.recipe import Recipe, ReferenceName, WaterClusters

DIMERS = water_clusters(2, 300, seed=7)


def molecules(positions: np.ndarray) -> np.ndarray:
    """Shape (molecules, 3 atoms, 3)."""
    return positions.reshape(-1, 3, 3)


def test_a_seed_decides_everything():
    again = water_clusters(2, 300, seed=7)
    other = water_clusters(2, 300, seed=8)
    assert all((a.positions == b.positions).all() for a, b in zip(DIMERS, again, strict=True))
    assert all((a.positions != b.positions).any() for a, b in zip(DIMERS, other, strict=True))


def test_a_larger_count_keeps_the_first_clusters():
    for few, many in zip(water_clusters(3, 4, seed=1), water_clusters(3, 9, seed=1), strict=False):
        assert few.id == many.id
        assert (few.positions == many.positions).all()


def test_names_and_atoms():
    assert [s.id for s in water_clusters(1, 2, 0)] == ["monomer-0000", "monomer-0001"]
    assert water_clusters(9, 1, 0)[0].id == "9-mer-0000"
    assert DIMERS[7].id == "dimer-0007"
    assert DIMERS[0].atomic_numbers == (8, 1, 1, 8, 1, 1)
    assert (DIMERS[0].charge, DIMERS[0].spin) == (0, 0)


@pytest.mark.parametrize("clusters", [DIMERS, water_clusters(5, 40, seed=3)])
def test_no_atoms_of_two_molecules_come_too_close(clusters):
    for cluster in clusters:
        for one, other in combinations(molecules(cluster.positions), 2):
            distances = np.linalg.norm(one[:, None] - other[None], axis=-1)
            for i, j in np.ndindex(3, 3):
                elements = tuple(sorted(((8, 1, 1)[i], (8, 1, 1)[j])))
                assert distances[i, j] >= CLOSEST[elements]


def test_internal_geometries_vary_within_their_limits():
    waters = np.concatenate([molecules(cluster.positions) for cluster in DIMERS])
    bonds = waters[:, 1:] - waters[:, :1]
    lengths = np.linalg.norm(bonds, axis=-1)
    cosines = (bonds[:, 0] * bonds[:, 1]).sum(axis=-1) / lengths.prod(axis=-1)
    angles = np.degrees(np.arccos(cosines))
    for values, (mean, deviation, low, high) in [(lengths, OH_BOND), (angles, HOH_ANGLE)]:
        assert values.min() >= low - 1e-9
        assert values.max() <= high + 1e-9
        assert values.mean() == pytest.approx(mean, abs=0.15 * deviation)
        assert values.std() == pytest.approx(deviation, rel=0.15)


def test_hydrogen_bonds_are_common_and_others_occur():
    """A hydrogen bond: H···O below 2.5 Å and O–H···O above 130°."""
    bonded = 0
    distances = []
    for cluster in DIMERS:
        one, other = molecules(cluster.positions)
        distances.append(np.linalg.norm(one[0] - other[0]))
        for donor, acceptor in ((one, other), (other, one)):
            for hydrogen in donor[1:]:
                to_acceptor, to_donor = acceptor[0] - hydrogen, donor[0] - hydrogen
                length = np.linalg.norm(to_acceptor)
                cosine = to_acceptor @ to_donor / length / np.linalg.norm(to_donor)
                bonded += length < 2.5 and cosine < np.cos(np.radians(130))
    assert 0.3 < bonded / len(DIMERS) < 0.8
    assert min(distances) < 2.8
    assert max(distances) > 4.5


def test_orientations_are_isotropic():
    """The mean of n random unit vectors is about 1/√n long; each component's mean square is 1/3."""
    waters = np.concatenate([molecules(cluster.positions) for cluster in DIMERS])
    normals = np.cross(waters[:, 1] - waters[:, 0], waters[:, 2] - waters[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    assert np.linalg.norm(normals.mean(axis=0)) < 3 / np.sqrt(len(normals))
    np.testing.assert_allclose((normals**2).mean(axis=0), 1 / 3, atol=0.06)


def test_a_recipes_tables_follow_one_another():
    recipe = Recipe(
        reference=ReferenceName(name="water"),
        structures=(
            WaterClusters(kind="water_clusters", molecules=2, count=3, seed=5),
            WaterClusters(kind="water_clusters", molecules=1, count=2),
        ),
    )
    names = [structure.id for structure in structures(recipe)]
    assert names == ["dimer-0000", "dimer-0001", "dimer-0002", "monomer-0000", "monomer-0001"]
