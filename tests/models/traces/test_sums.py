"""Sums by irrep and path against sums taken one by one, for groups in order and in pieces."""

import numpy as np
import pytest

from tesseral.models.traces.sums import Sums
from tesseral.models.traces.weights import Group, Key

SCALAR, VECTOR, PATH = Key(0, 1, None), Key(1, -1, None), Key(1, -1, "1o x 0e -> 1o")
IN_ORDER = [Group(SCALAR, slice(0, 2)), Group(PATH, slice(2, 3)), Group(VECTOR, slice(3, 6))]
IN_PIECES = [Group(PATH, np.array([0, 5])), Group(SCALAR, np.array([1, 2, 3])), Group(PATH, np.array([4]))]
EMPTY = [Group(SCALAR, slice(0, 0)), Group(VECTOR, slice(0, 6))]


@pytest.mark.parametrize("groups", [IN_ORDER, IN_PIECES, EMPTY], ids=["in order", "in pieces", "one empty"])
def test_a_path_counts_for_itself_and_for_its_irrep(groups):
    draw = np.random.default_rng(0)
    sums = Sums(2)
    for _ in range(2):
        sums.clear()
        above, below = draw.random(6), draw.random(6)
        sums.add(False, groups, 1, above, below)
        sums.add(False, groups, 1, above, 12)
        expected: dict[Key, np.ndarray] = {}
        for key, where in groups:
            part = np.array([2 * above[where].sum(), below[where].sum() + 2 * len(above[where])])
            for under in {key, key._replace(path=None)}:
                expected[under] = expected.get(under, 0) + part
        taken = {key: values for edges, key, values in sums.rows() if not edges}
        assert taken.keys() == expected.keys()
        for key, values in taken.items():
            assert values[0] == [0, 0]
            assert values[1] == pytest.approx(expected[key].tolist(), rel=1e-14)


def test_weights_of_edges_are_kept_apart_and_come_last():
    sums = Sums(1)
    sums.add(True, IN_ORDER, 0, np.ones(6), 6)
    sums.add(False, IN_PIECES, 0, np.ones(6), 6)
    rows = [(edges, key) for edges, key, _ in sums.rows()]
    assert rows == [
        (False, PATH), (False, SCALAR), (False, VECTOR), (True, PATH), (True, SCALAR), (True, VECTOR),
    ]  # fmt: skip
    sums.clear()
    assert [values for _, _, values in sums.rows()] == [[[0, 0]]] * 6
