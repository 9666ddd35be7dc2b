"""Neighbours in periodic structures: pairs of atoms and of their images, found by the vesin library."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tesseral.study.errors import DataError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

FLAT = 1e-6
"""Least volume of the lattice vectors, as a share of the product of their lengths: below it they span no cell."""

SAME_PLACE = 1e-4
"""Atoms nearer to each other than this, Å, are at one place."""


class Neighbors(NamedTuple):
    """Directed edges, sorted by destination, source and image; each has a reverse."""

    destination: Integers
    """(edges,), the atom that an edge leads to."""
    source: Integers
    """(edges,), the atom that it comes from, in the cell or as an image: an atom may be its own neighbour."""
    shift: Array
    """(edges, 3), Å: the lattice vector that leads from the source to its image. The edge's vector is
    (r_source − r_destination) + shift."""
    reverse: Integers
    """(edges,), the edge that leads back: between the same two atoms, by the opposite lattice vector."""


def periodic_neighbors(positions: Array, cell: Array, cutoff: float) -> Neighbors:
    """All pairs of an atom and another atom, or an image of any, within a distance.

    :param positions: (atoms, 3), Å, inside the cell or not.
    :param cell: (3, 3), Å, lattice vectors as rows; a row of zeros where the structure does not repeat.
    :param cutoff: Å.
    :raises DataError: if two atoms are at one place, or the lattice vectors span no cell.
    """
    from vesin import NeighborList  # here: it imports torch, and a driver has no use for its 200 MB

    box, repeats = whole_cell(cell), cell.any(axis=1)
    # One thread: sums of a process must not depend on the machine's cores, and structures are small.
    pairs = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
    first, second, image, distance = pairs.compute(positions, box, repeats, "ijSd")
    if len(distance) and distance.min() < SAME_PLACE:
        raise DataError("expected atoms at different positions, got two at one place")
    # Each pair is listed once, so an edge and its reverse are made together and neither is ever lost to rounding.
    destination = np.concatenate([first, second]).astype(np.int64)
    source = np.concatenate([second, first]).astype(np.int64)
    images = np.concatenate([image, -image]).astype(np.int64).reshape(-1, 3)
    order = np.lexsort((*images.T[::-1], source, destination))
    destination, source, images = destination[order], source[order], images[order]
    # Read backwards, the edges are the same ones in another order.
    backwards = np.lexsort((*-images.T[::-1], destination, source))
    reverse = np.empty_like(order)
    reverse[backwards] = np.arange(len(order))
    return Neighbors(destination, source, images @ box, reverse)


def whole_cell(cell: Array) -> Array:
    """Three lattice vectors, with unit vectors across the others in place of zeros.

    :param cell: (3, 3), Å, lattice vectors as rows; a row of zeros where the structure does not repeat.
    :raises DataError: if the vectors are not finite, or two are parallel or three in a plane.
    """
    repeats = cell.any(axis=1)
    whole = cell.copy()
    if not repeats.all():
        # The last right singular vectors are across all rows of the cell.
        whole[~repeats] = np.linalg.svd(cell)[2][repeats.sum() :]
    size = np.linalg.norm(whole, axis=1).prod()
    if not np.isfinite(cell).all() or abs(np.linalg.det(whole)) <= FLAT * size:
        raise DataError(f"expected lattice vectors that span a cell, got {cell.tolist()}")
    return whole
