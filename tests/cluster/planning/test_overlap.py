"""Structures of a test set that may be trained on are said before anything is trained."""

from dataclasses import replace
from types import SimpleNamespace

import pyarrow as pa

from tesseral.cluster.planning.forecast import notes
from tesseral.cluster.planning.overlap import copied, overlaps
from tesseral.cluster.planning.plan import plan
from tesseral.models.data.reference_file import Reference, encode_reference
from tesseral.study.configuration.configuration import Data
from tesseral.study.study import Study
from tests.support.synthetic_properties import property_reference, property_table
from tests.system.test_target_study import text_of

DATA = Data(reference="reference/synthetic.parquet", train=8, validation=2, test=2)
TRAINED = property_reference(12)


def moved_copies(*indices: int) -> Reference:
    """Structures of another seed, and the named ones of the data, moved and under other names."""
    rows = property_reference(6, seed=1).table.to_pylist()
    for index in indices:
        row = TRAINED.table.to_pylist()[index]
        row["positions"] = [[x + 3.0, y, z - 1.0] for x, y, z in row["positions"]]
        rows.append(row | {"id": f"copy-{index}"})
    return property_table(rows)


def test_copies_are_found_wherever_they_lie_and_whatever_their_names():
    assert copied(moved_copies(), TRAINED, DATA) == []
    assert copied(moved_copies(3, 4), TRAINED, DATA) == ["copy-3", "copy-4"]
    assert copied(TRAINED, TRAINED, DATA) == TRAINED.table["id"].to_pylist()


def test_a_published_split_keeps_its_own_test_structures_out_of_training():
    table = TRAINED.table
    split = pa.array(["train"] * 4 + ["test"] * 8, pa.string())
    divided = replace(TRAINED, table=table.set_column(table.schema.get_field_index("split"), "split", split))
    assert copied(moved_copies(3, 4), divided, replace(DATA, split="column")) == ["copy-3"]


def test_a_plan_says_it_of_each_test_set(tmp_path):
    text = text_of("energy")
    name = Study.parse(text, "targets.toml").arms[0].configuration.data.reference
    for path, data in ((name, property_reference(24)), ("reference/mine.parquet", moved_copies(3, 4))):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(encode_reference(data.table.to_pylist(), None, "synthetic", data.labels))
    with_tests = Study.parse(
        text + f'\n[data.tests]\nown = "reference/mine.parquet"\nsame = "{name}"\n', "targets.toml"
    )
    planned = plan(with_tests, str(tmp_path))
    said = [sentence for sentence in notes(planned, []) if sentence.startswith("data.tests.")]
    assert said == list(overlaps(planned))
    assert [sentence.split(" have ")[0] for sentence in said] == [
        "data.tests.own: 2 of its 8 structures",
        "data.tests.same: 24 of its 24 structures",
    ]


def test_nothing_is_said_of_data_that_are_not_there():
    study = SimpleNamespace(
        arms=[SimpleNamespace(configuration=SimpleNamespace(data=replace(DATA, tests={"own": "reference/a.parquet"})))]
    )
    absent = SimpleNamespace(reference=lambda _: None, test_set=lambda _: TRAINED)
    assert list(overlaps(SimpleNamespace(study=study, measure=absent))) == []
