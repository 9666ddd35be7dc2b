"""The split of a data set into training, validation and test structures, which follows from a seed alone."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tesseral.models.data.groups import group_structures
from tesseral.models.data.published_split import check_published, parts, published_split
from tesseral.models.data.ranges import ranges
from tesseral.models.data.reference_file import Reference
from tesseral.study import configuration
from tesseral.study.configuration.trial import HoldOut
from tesseral.study.configuration.trial import seed as seed_of
from tesseral.study.errors import DataError

Numbers = NDArray[np.int64]


class Split(NamedTuple):
    """Positions of structures among the converged ones of the reference data."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def check_splits(data: configuration.Data, reference: Reference, folds: int = 0) -> None:
    """Check that the splits fit into the reference data, whatever their seed.

    :param data: sizes of the splits, and what is kept together.
    :param reference: all rows; the converged ones count.
    :param folds: largest number of disjoint test splits; 0 if they are random.
    :raises DataError: if they do not.
    :raises StudyFileError: if the reference data have no label that groups are named after.
    """
    published = published_split(data, reference)
    if published is not None:
        check_published(data, published)
        return
    members = Counter(group_structures(reference, data.groups))
    size, largest = members.total(), max(members.values(), default=1)
    what = f"the converged structures of {data.reference}"
    check_size(data, size, what)
    left_out = (largest - 1) * (2 if data.validation else 1)
    if asked(data) + left_out > size:
        raise DataError(
            f"data.groups: expected splits of at most {max(size - left_out, 0)} structures in all, got {asked(data)}: "
            f"{what} are {len(members)} groups by {data.groups}, the largest of {largest}, and a split that ends "
            f"inside a group leaves the rest of it out, {left_out} of {size} at most"
        )
    check_folds(data, size, what, folds, largest)


def asked(data: configuration.Data) -> int:
    """Number of structures in all splits together."""
    return data.train + data.validation + data.test


def check_size(data: configuration.Data, size: int, what: str) -> None:
    """Check that the splits fit into so many structures.

    :param data: sizes of the splits.
    :param size: number of structures.
    :param what: these structures, in words.
    :raises DataError: if they do not.
    """
    if asked(data) > size:
        raise DataError(
            f"data.train: expected train + validation + test of at most {size}, {what}, got {data.train} + "
            f"{data.validation} + {data.test} = {asked(data)}"
        )


def check_folds(data: configuration.Data, size: int, what: str, blocks: int, largest: int = 1) -> None:
    """Check that the test splits of all blocks can be disjoint.

    :param data: sizes of the splits.
    :param size: number of structures.
    :param what: these structures, in words.
    :param blocks: largest number of blocks.
    :param largest: structures in the largest group.
    :raises DataError: if they cannot.
    """
    fold = data.test + largest - 1
    if blocks * fold > size:
        kept = f", where whole groups by {data.groups} take up to {fold} a block" if largest > 1 else ""
        raise DataError(
            f"replication.split: expected blocks × test of at most {size}, {what}, for the disjoint test splits of "
            f'"folds", got {blocks} × {data.test} = {blocks * data.test}{kept}; "random" splits may overlap'
        )


def permutation(seed: int, size: int) -> list[int]:
    """A random order of 0..size−1.

    :param seed: of NumPy's Mersenne Twister, MT19937.
    :param size: how many numbers.
    """
    order: list[int] = _permutation(seed, size).tolist()
    return order


def _permutation(seed: int, size: int) -> Numbers:
    # NumPy has frozen the stream of this legacy generator, so a seed gives the same split in every version.
    return np.random.RandomState(np.random.MT19937(seed)).permutation(size)


def split_structures(
    data: configuration.Data,
    groups: Sequence[int],
    seed: int,
    fold: int | None = None,
    published: Sequence[str | None] | None = None,
    holdout: HoldOut | None = None,
) -> Split:
    """Split the structures: groups in a random order; those for testing come first, then validation, then training.

    Training sets of different sizes are therefore nested, and judged by the same structures. A split that ends inside a
    group leaves the rest of the group out, so no group is in two splits. With a fold, the groups for testing are that
    fold of the order, and the others follow in an order of their own.

    :param data: sizes of the splits; they are known to fit, see `check_splits`.
    :param groups: group of each converged structure, as `group_structures` numbers them.
    :param seed: the block's; with a fold, that of all blocks.
    :param fold: which of the disjoint folds of `data.test` structures is tested, counted from 0.
    :param published: the published split of each structure, as `published_split` returns it: each split is drawn from
        its part, and validation from the training part if none is published.
    :param holdout: structures that the test split is drawn from; a search has no test split, and sees none of them.
    """
    if published is not None:
        return _draw(data, parts(published), seed)
    of = _Groups(groups)
    everything = np.arange(len(of.sizes))
    if holdout is not None:
        held, unheld = of.divide(_shuffled(everything, holdout.seed), holdout.size)
        if not holdout.seen:
            return _rest(data, of, everything[:0], _shuffled(unheld, seed))
        order = _shuffled(held, seed)
    else:
        order, unheld = _shuffled(everything, seed), everything[:0]
    if fold is None:
        tested, rest = of.divide(order, data.test)
    else:
        before, remaining = everything[:0], order
        for _ in range(fold):
            passed, remaining = of.divide(remaining, data.test)
            before = np.concatenate([before, passed])
        tested, rest = of.divide(remaining, data.test)
        rest = _shuffled(np.concatenate([before, rest]), seed_of(seed, "fold", fold))
    if holdout is not None:
        rest = _shuffled(np.concatenate([rest, unheld]), seed_of(seed, "unheld", -1 if fold is None else fold))
    return _rest(data, of, tested, rest)


class _Groups:
    """The structures of each group. Groups are drawn as arrays of their numbers.

    :param groups: of each structure, as `group_structures` numbers them.
    """

    def __init__(self, groups: Sequence[int]) -> None:
        numbers = np.asarray(groups, dtype=np.int64)
        self.sizes = np.bincount(numbers)
        self._begins = np.cumsum(self.sizes) - self.sizes
        self._structures = np.argsort(numbers, kind="stable")  # group after group

    def divide(self, groups: Numbers, wanted: int) -> tuple[Numbers, Numbers]:
        """The first groups that hold so many structures at least, or all if they hold fewer; and the other groups."""
        held = np.cumsum(self.sizes[groups])
        number = int(np.searchsorted(held, wanted)) + 1 if wanted else 0
        return groups[:number], groups[number:]

    def structures(self, groups: Numbers, wanted: int) -> tuple[int, ...]:
        """The structures of groups, and of these at most the first `wanted`."""
        places = ranges(self._begins[groups], self.sizes[groups])
        return tuple(self._structures[places[:wanted]].tolist())


def _shuffled(groups: Numbers, seed: int) -> Numbers:
    return groups[_permutation(seed, len(groups))]


def _rest(data: configuration.Data, of: _Groups, tested: Numbers, rest: Numbers) -> Split:
    """A split of which the groups for testing are known; validation and training are taken from the others."""
    validated, rest = of.divide(rest, data.validation)
    trained, _ = of.divide(rest, data.train)
    return Split(
        train=of.structures(trained, data.train),
        validation=of.structures(validated, data.validation),
        test=of.structures(tested, data.test),
    )


def _draw(data: configuration.Data, published: dict[str, list[int]], seed: int) -> Split:
    """The splits, each drawn from its published part."""
    shuffled = {
        name: [part[i] for i in permutation(seed_of(seed, "published", name), len(part))]
        for name, part in published.items()
    }
    train = shuffled["train"]
    validation = shuffled["validation"][: data.validation]
    if not shuffled["validation"]:
        validation, train = train[: data.validation], train[data.validation :]
    return Split(tuple(train[: data.train]), tuple(validation), tuple(shuffled["test"][: data.test]))
