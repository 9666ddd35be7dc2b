"""Tensors of many structures, concatenated run by run: one operation for all runs, however small each is."""

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain

import numpy as np
import torch
from torch import Tensor

ALIGNED = 64
"""Bytes. PyTorch's own memory begins at multiples of it, and a matrix product may depend on that in its last bits."""


def concatenate(
    runs: Sequence[Sequence[Tensor]],
    rows: Sequence[Sequence[int]] | None = None,
    offsets: Sequence[Sequence[int]] | None = None,
) -> list[Tensor]:
    """The tensors of each run, concatenated along their rows.

    The results share memory, but each begins at a multiple of `ALIGNED`: what is computed from one has the same bits as
    if it had been made alone.

    :param runs: at least one, each of at least one tensor; all of one type, device and width.
    :param rows: of each tensor, where the caller knows; see `count_rows`.
    :param offsets: for each tensor, a number that is added to all of its own; 0 if not given.
    """
    first = runs[0][0]
    rows = count_rows(runs) if rows is None else rows
    unit = ALIGNED // first.element_size()  # a multiple of as many rows is aligned, however wide a row is
    filler = first.new_zeros(unit, *first.shape[1:])
    parts: list[Tensor] = []
    sizes: list[int] = []
    for run, own in zip(runs, rows, strict=True):
        size = sum(own)
        missing = -size % unit if len(runs) > 1 else 0
        parts += [*run, filler[:missing]]
        sizes += [size, missing]
    joined = torch.cat(parts)
    if offsets is not None:
        added = chain.from_iterable((*of, 0) for of in offsets)  # 0: of the filler
        often = chain.from_iterable((*own, missing) for own, missing in zip(rows, sizes[1::2], strict=True))
        each = np.repeat(np.fromiter(added, dtype=np.int64), np.fromiter(often, dtype=np.int64))
        joined += torch.from_numpy(each).to(joined.device)
    return list(joined.split(sizes)[::2])


def count_rows(runs: Sequence[Sequence[Tensor]]) -> list[list[int]]:
    """The rows of each tensor.

    :param runs: any.
    """
    return [[part.shape[0] for part in run] for run in runs]


def first_rows(rows: Iterable[int]) -> list[int]:
    """The row of the concatenated tensor at which each part of a run begins.

    :param rows: of each part.
    """
    return list(accumulate(rows, initial=0))[:-1]
