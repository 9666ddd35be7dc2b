"""Neighbours across the boundary of a cell: every image within the cutoff, each edge with its reverse."""

import numpy as np
import pytest

from tesseral.models.networks.neighbors import periodic_neighbors, whole_cell
from tesseral.study.errors import DataError
from tests.support.periodic_structures import CELL, PLACES

AXES = [(True, True, True), (True, True, False), (False, True, False)]


def counted(places: np.ndarray, cell: np.ndarray, cutoff: float, reach: int = 8) -> set[tuple[int, ...]]:
    """Destination, source and image of every edge, by trying all images."""
    ranges = [range(-reach, reach + 1) if row.any() else range(1) for row in cell]
    found = set()
    for image in np.ndindex(*map(len, ranges)):
        steps = np.array([axis[index] for axis, index in zip(ranges, image, strict=True)])
        vectors = places[None] + steps @ cell - places[:, None]
        for destination, source in np.argwhere(np.linalg.norm(vectors, axis=2) < cutoff):
            if destination != source or steps.any():
                found.add((int(destination), int(source), *map(int, steps)))
    return found


@pytest.mark.parametrize("repeats", AXES, ids=["crystal", "slab", "chain"])
@pytest.mark.parametrize("size", [0.6, 1.0, 3.0])
def test_all_images_within_the_cutoff_are_neighbours(repeats, size):
    """Also of cells far smaller than the cutoff, and of atoms outside their cell."""
    cell, places = (
        size * CELL * np.array(repeats)[:, None],
        size * PLACES + np.array([[5.0, 0, 0], [0, -7.0, 0], [0] * 3]),
    )
    found = periodic_neighbors(places, cell, 4.0)
    box = whole_cell(cell)
    images = np.rint(found.shift @ np.linalg.inv(box)).astype(int)
    np.testing.assert_allclose(images @ box, found.shift, atol=1e-12)
    edges = list(zip(found.destination.tolist(), found.source.tolist(), *images.T.tolist(), strict=True))
    assert len({*edges}) == len(edges)
    assert {*edges} == counted(places, cell, 4.0)
    assert edges == sorted(edges)


def test_an_edge_and_its_reverse_join_the_same_two_images():
    found = periodic_neighbors(PLACES, CELL, 5.0)
    back = found.reverse
    vectors = PLACES[found.source] - PLACES[found.destination] + found.shift
    assert (found.destination == found.source).sum() > 6  # an atom is its own neighbour
    np.testing.assert_array_equal(vectors[back], -vectors)
    np.testing.assert_array_equal(found.source[back], found.destination)
    np.testing.assert_array_equal(back[back], np.arange(len(back)))
    assert (back != np.arange(len(back))).all()


def test_mistakes_are_sentences():
    with pytest.raises(DataError, match="expected atoms at different positions, got two at one place"):
        periodic_neighbors(np.stack([PLACES[0], PLACES[0] + CELL[1]]), CELL, 2.0)
    for flat in (CELL[[0, 0, 1]], CELL * np.array([[1.0], [np.nan], [1.0]])):
        with pytest.raises(DataError, match="expected lattice vectors that span a cell, got"):
            whole_cell(flat)
