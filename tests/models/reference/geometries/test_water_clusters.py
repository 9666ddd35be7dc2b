"""Random water clusters: the same for the same seed, physical, and varied."""

from itertools import combinations

import numpy as np
import pytest

from tesseral.models.reference.geometries import water_clusters
from tesseral.models.reference.geometries.water_clusters import CLOSEST, HOH_ANGLE, OH_BOND, WATER, water_cluster
from tesseral.study.errors import DataError

DIMERS = [water_cluster(2, index, seed=7) for index in range(300)]


def molecules(positions: np.ndarray) -> np.ndarray:
    """Shape (molecules, 3 atoms, 3)."""
    return positions.reshape(-1, 3, 3)


def test_a_seed_decides_everything():
    for index, dimer in enumerate(DIMERS[:50]):
        assert (dimer == water_cluster(2, index, seed=7)).all()
        assert (dimer != water_cluster(2, index, seed=8)).any()


def test_a_cluster_that_finds_no_room_is_a_sentence(monkeypatch):
    monkeypatch.setattr(water_clusters, "CLOSEST", {(1, 1): 9.0, (1, 8): 9.0, (8, 8): 9.0})
    monkeypatch.setattr(water_clusters, "_ATTEMPTS", 100)
    with pytest.raises(DataError, match="expected to place 3 molecules, 1 found room; ask for fewer"):
        water_cluster(3, 0, seed=1)


@pytest.mark.parametrize("clusters", [DIMERS, [water_cluster(5, index, seed=3) for index in range(40)]])
def test_no_atoms_of_two_molecules_come_too_close(clusters):
    for cluster in clusters:
        for one, other in combinations(molecules(cluster), 2):
            distances = np.linalg.norm(one[:, None] - other[None], axis=-1)
            for i, j in np.ndindex(3, 3):
                elements = tuple(sorted((WATER[i], WATER[j])))
                assert distances[i, j] >= CLOSEST[elements]


def test_internal_geometries_vary_within_their_limits():
    waters = np.concatenate([molecules(cluster) for cluster in DIMERS])
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
        one, other = molecules(cluster)
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
    waters = np.concatenate([molecules(cluster) for cluster in DIMERS])
    normals = np.cross(waters[:, 1] - waters[:, 0], waters[:, 2] - waters[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    assert np.linalg.norm(normals.mean(axis=0)) < 3 / np.sqrt(len(normals))
    np.testing.assert_allclose((normals**2).mean(axis=0), 1 / 3, atol=0.06)
