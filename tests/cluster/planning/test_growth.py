"""A plan says what `tesseral run` makes of the file of a study that was started before."""

import pytest

from tesseral.cluster.planning.forecast import notes
from tesseral.cluster.planning.growth import growth_notes
from tesseral.cluster.planning.plan import plan
from tesseral.study.records.ledger import freeze
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.water_study import water_study


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("blocks = 3", "blocks = 3", []),
        ("blocks = 3", "blocks = 5", ["the study was started before and grows: 5 blocks instead of 3"]),
        (
            "blocks = 3",
            "blocks = 2",
            [
                "tesseral run refuses this file: the study 'small' was started with other settings: replication.blocks "
                "is 2 and was 3; restore them, or give the study another name, under which the trials that both have "
                "are copied"
            ],
        ),
    ],
)
def test_a_plan_says_what_a_run_would(tmp_path, tiny_reference, old, new, told):
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / tiny_reference.name).write_bytes(tiny_reference.read_bytes())
    text = water_study("small")
    assert old in text
    study = Study.parse(text, "small.toml")
    assert list(growth_notes(plan(study, tmp_path))) == []
    freeze(Store(tmp_path).child("small"), study)
    planned = plan(Study.parse(text.replace(old, new), "small.toml"), tmp_path)
    assert list(growth_notes(planned)) == told
    assert notes(planned, [])[: len(told)] == told
