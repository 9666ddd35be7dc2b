"""The split of a data set into training, validation and test structures, which follows from a seed alone."""

from typing import NamedTuple

import numpy as np

from tesseral.models.data.reference_file import Reference
from tesseral.study import configuration
from tesseral.study.configuration.trial import seed as seed_of
from tesseral.study.errors import DataError


class Split(NamedTuple):
    """Positions of structures among the converged ones of the reference data."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def check_sizes(data: configuration.Data, reference: Reference) -> None:
    """Check that the splits fit into the reference data.

    :param data: sizes of the splits.
    :param reference: all rows; the converged ones count.
    :raises DataError: if they do not.
    """
    check_size(data, len(reference.converged), f"the converged structures of {data.reference}")


def check_size(data: configuration.Data, size: int, what: str) -> None:
    """Check that the splits fit into so many structures.

    :param data: sizes of the splits.
    :param size: number of structures.
    :param what: these structures, in words.
    :raises DataError: if they do not.
    """
    asked = data.train + data.validation + data.test
    if asked > size:
        raise DataError(
            f"data.train: expected train + validation + test of at most {size}, {what}, got {data.train} + "
            f"{data.validation} + {data.test} = {asked}"
        )


def check_folds(data: configuration.Data, size: int, what: str, blocks: int) -> None:
    """Check that the test splits of all blocks can be disjoint.

    :param data: sizes of the splits.
    :param size: number of structures.
    :param what: these structures, in words.
    :param blocks: largest number of blocks.
    :raises DataError: if they cannot.
    """
    if blocks * data.test > size:
        raise DataError(
            f"replication.split: expected blocks × test of at most {size}, {what}, for the disjoint test splits of "
            f'"folds", got {blocks} × {data.test} = {blocks * data.test}; "random" splits may overlap'
        )


def permutation(seed: int, size: int) -> list[int]:
    """A random order of 0..size−1.

    :param seed: of NumPy's Mersenne Twister, MT19937.
    :param size: how many numbers.
    """
    # NumPy has frozen the stream of this legacy generator, so a seed gives the same split in every version.
    return [int(i) for i in np.random.RandomState(np.random.MT19937(seed)).permutation(size)]


def split_structures(data: configuration.Data, size: int, seed: int, fold: int | None = None) -> Split:
    """Split the structures: in a random order, those for testing come first, then validation, then training.

    Training sets of different sizes are therefore nested, and judged by the same structures. With a fold, those for
    testing are that fold of the order, and the others follow in an order of their own.

    :param data: sizes of the splits.
    :param size: converged structures of the reference data.
    :param seed: the block's; with a fold, that of all blocks.
    :param fold: which of the disjoint folds of `data.test` structures is tested, counted from 0.
    """
    order = permutation(seed, size)
    if fold is not None:
        start = fold * data.test
        test, rest = order[start : start + data.test], order[:start] + order[start + data.test :]
        order = test + [rest[i] for i in permutation(seed_of(seed, "fold", fold), len(rest))]
    first = data.test + data.validation
    return Split(
        train=tuple(order[first : first + data.train]),
        validation=tuple(order[data.test : first]),
        test=tuple(order[: data.test]),
    )
