"""The split of a data set into training, validation and test structures, which follows from a seed alone."""

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import NamedTuple

import numpy as np

from tesseral.models.data.groups import group_structures
from tesseral.models.data.published_split import check_published, parts, published_split
from tesseral.models.data.reference_file import Reference
from tesseral.study import configuration
from tesseral.study.configuration.trial import HoldOut
from tesseral.study.configuration.trial import seed as seed_of
from tesseral.study.errors import DataError


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
    # NumPy has frozen the stream of this legacy generator, so a seed gives the same split in every version.
    order: list[int] = np.random.RandomState(np.random.MT19937(seed)).permutation(size).tolist()
    return order


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
    members = _members(groups)
    if holdout is not None:
        held, unheld = _divide(_shuffled(members, holdout.seed), holdout.size)
        if not holdout.seen:
            return _rest(data, [], _shuffled(unheld, seed))
        order = _shuffled(held, seed)
    else:
        order, unheld = _shuffled(members, seed), []
    if fold is None:
        test, rest = _take(order, data.test)
    else:
        others: _Groups = []
        remaining = order
        for _ in range(fold):
            before = len(remaining)
            _, rest = _take(remaining, data.test)
            others += remaining[: before - len(rest)]
            remaining = rest
        test, rest = _take(remaining, data.test)
        others += rest
        rest = _shuffled(others, seed_of(seed, "fold", fold))
    if holdout is not None:
        rest = _shuffled([*rest, *unheld], seed_of(seed, "unheld", -1 if fold is None else fold))
    return _rest(data, test, rest)


_Groups = list[Sequence[int]]
"""The structures of each group."""


def _members(groups: Sequence[int]) -> _Groups:
    if list(groups) == list(range(len(groups))):
        # Ranges, which the garbage collector does not look through: with 130,000 lists it takes a quarter of a second.
        return [range(structure, structure + 1) for structure in range(len(groups))]
    members: dict[int, list[int]] = {}
    for structure, group in enumerate(groups):
        members.setdefault(group, []).append(structure)
    return [members[group] for group in range(len(members))]


def _shuffled(groups: _Groups, seed: int) -> _Groups:
    return [groups[i] for i in permutation(seed, len(groups))]


def _divide(groups: _Groups, size: int) -> tuple[_Groups, _Groups]:
    """The first groups that hold `size` structures at least, and the others."""
    number = _number(groups, size)
    return groups[:number], groups[number:]


def _number(groups: _Groups, wanted: int) -> int:
    """How many of the first groups hold `wanted` structures at least; all, where they hold fewer."""
    held = accumulate(map(len, groups), initial=0)
    return next((number for number, before in enumerate(held) if before >= wanted), len(groups))


def _rest(data: configuration.Data, test: list[int], rest: _Groups) -> Split:
    """A split of which the test structures are known; validation and training are taken from the others."""
    validation, rest = _take(rest, data.validation)
    train, _ = _take(rest, data.train)
    return Split(train=tuple(train), validation=tuple(validation), test=tuple(test))


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


def _take(groups: _Groups, wanted: int) -> tuple[list[int], _Groups]:
    """The first `wanted` structures of groups, and the groups that none of them is in."""
    number = _number(groups, wanted)
    return list(chain.from_iterable(groups[:number]))[:wanted], groups[number:]
