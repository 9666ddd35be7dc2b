"""Reuse: a neighbour in the storage that cannot be read stops no study."""

import pytest

from tesseral.study.records.reuse import ReusableTrials
from tesseral.study.records.store import Store


def test_a_neighbour_that_cannot_be_read_is_named_and_passed_over(tmp_path):
    (tmp_path / "foreign" / "study.toml").mkdir(parents=True)
    with pytest.warns(UserWarning, match="no trial of foreign is reused: expected a record at .* got a folder"):
        others = ReusableTrials(Store(tmp_path), "mine")
    assert others.copy(Store(tmp_path).child("mine"), "f" * 64, {}) is None
