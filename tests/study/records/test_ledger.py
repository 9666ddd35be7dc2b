"""The frozen study file: damage is named, with what to do."""

import pytest

from tesseral.study.errors import RecordError
from tesseral.study.records.ledger import freeze, frozen
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.water_study import water_study


@pytest.mark.parametrize("kept", [0, 40])
def test_a_torn_study_file_is_named(tmp_path, kept):
    store = Store(tmp_path)
    freeze(store, Study.parse(water_study("small"), "small.toml"))
    path = tmp_path / "study.toml"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RecordError, match=r"study\.toml is damaged: it is torn, or no study file .*; remove it"):
        frozen(store)
