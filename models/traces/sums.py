"""Sums over the weights of a layer by irrep and path: numerators and denominators of root mean squares."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tesseral.models.traces.weights import Group, Key


@dataclass(frozen=True)
class _Grouping:
    """What is known of groups along an axis before there are numbers: a tracer sums them again and again."""

    groups: Sequence[Group]
    starts: list[int] | None
    """Where each group begins, if each ends where the next one begins; None if not."""
    summed: NDArray[np.int64]
    """Groups, each as often as it is added to a row."""
    rows: NDArray[np.int64]
    """The row that each of `summed` is added to."""

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over the positions of each of `summed`."""
        if self.starts is not None:
            return np.add.reduceat(values, self.starts)[self.summed]
        return np.array([values[where].sum() for _, where in self.groups])[self.summed]


class Sums:
    """Numerators and denominators of √(numerator / denominator), for each statistic of each irrep and path of a layer.

    A path's weights are added to the path and to its irrep, so that irreps have a row over all their paths.

    :param statistics: number of statistics.
    """

    def __init__(self, statistics: int) -> None:
        self._rows: dict[tuple[bool, Key], int] = {}
        self._groupings: dict[tuple[bool, int, int], _Grouping] = {}
        self._values = np.zeros((0, statistics, 2))

    def add(
        self,
        edges: bool,
        groups: Sequence[Group],
        statistic: int,
        above: NDArray[np.float64],
        below: NDArray[np.float64] | int,
    ) -> None:
        """Add each group's share of a numerator and a denominator.

        :param edges: whether the weights are computed for each edge; their rows are their own.
        :param groups: the same list whenever these groups are meant: what follows from it is kept.
        :param statistic: which, from 0.
        :param above: numerator of each position along the weights' axis.
        :param below: denominator of each position, or the number of weights in the whole tensor.
        """
        key = edges, id(groups), len(above)
        grouping = self._groupings.get(key) or self._groupings.setdefault(key, self._group(edges, groups, len(above)))
        # Every position along the axis holds equally many weights of the tensor.
        each = below if isinstance(below, np.ndarray) else np.full(len(above), below / len(above))
        for column, values in enumerate((above, each)):
            np.add.at(self._values[:, statistic, column], grouping.rows, grouping.sums(values))

    def _group(self, edges: bool, groups: Sequence[Group], length: int) -> _Grouping:
        under = [(number, key) for number, (key, _) in enumerate(groups) for key in {key, key._replace(path=None)}]
        rows = [self._rows.setdefault((edges, key), len(self._rows)) for _, key in under]
        missing = len(self._rows) - len(self._values)
        self._values = np.concatenate([self._values, np.zeros((missing, *self._values.shape[1:]))])
        places = [where for _, where in groups if isinstance(where, slice) and where.start < where.stop]
        ends = [0, *(where.stop for where in places)]
        follow = len(places) == len(groups) > 0 and [where.start for where in places] == ends[:-1]
        summed = np.array([number for number, _ in under], dtype=np.int64)
        starts = ends[:-1] if follow and ends[-1] == length else None
        return _Grouping(groups, starts, summed, np.array(rows, dtype=np.int64))

    def clear(self) -> None:
        """Forget the numbers."""
        self._values[:] = 0

    def rows(self) -> Iterator[tuple[bool, Key, list[list[float]]]]:
        """What was added since they were cleared, in a fixed order.

        :returns: whether of edges, the irrep and path, and (numerator, denominator) of each statistic.
        """
        values = self._values.tolist()
        for (edges, key), row in sorted(self._rows.items(), key=_in_order):
            yield edges, key, values[row]


def _in_order(item: tuple[tuple[bool, Key], int]) -> tuple[bool, str, int, int]:
    (edges, key), _ = item
    return edges, str(key.path), *key[:2]
