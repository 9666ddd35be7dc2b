"""A share of the faults of `make faults`: whatever fails, nothing is lost and no number changes."""

import pytest

from tests.support.disturbed import Found
from tests.system.faults import PARTS

SHARES = {"files": 0.004, "bits": 0.005}
"""Part → share of its faults that are tried here. That of the storage: `test_storage_far_away.py`."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", SHARES)
def test_nothing_is_lost_whatever_fails(part):
    found = Found()
    PARTS[part](found, SHARES[part], 0)
    assert not any(found.faults.values()), found.sentences
    assert found.tried
