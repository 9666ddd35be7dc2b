"""Compositions that a training split does not span are said before anything is trained."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from tesseral.cluster.planning.composition import outside, undetermined
from tesseral.cluster.planning.forecast import notes
from tesseral.cluster.planning.plan import plan
from tesseral.models.data.reference_file import Reference, encode_reference
from tesseral.study.configuration.configuration import Data
from tesseral.study.configuration.quantities import Label
from tesseral.study.configuration.trial import Seeds
from tesseral.study.parsing.irreps import parse_irreps
from tesseral.study.study import Study
from tests.support.synthetic_properties import property_reference, property_table, row
from tests.system.test_target_study import text_of

PAIR = np.array([[0.0, 0.0, 0.0], [0.97, 0.0, 0.0]])
DATA = Data(reference="reference/synthetic.parquet", train=8, validation=2, test=4)


def waters_and(*others: list[int]) -> Reference:
    """Twelve waters and pairs of them, and diatomic molecules."""
    rows = property_reference(12).table.to_pylist()
    return property_table(rows + [row(f"other-{index}", numbers, PAIR) for index, numbers in enumerate(others)])


def block(seed: int) -> Seeds:
    return Seeds(split=seed, order=0, initialisation=0)


def test_a_radical_is_outside_of_waters_unless_it_is_trained_on():
    reference = waters_and([8, 1])
    formulas = [outside(reference, DATA, [block(seed)]) for seed in range(20)]
    assert {frozenset(one) for one in formulas} == {frozenset(), frozenset({"HO"})}
    assert not outside(waters_and(), DATA, map(block, range(5)))


def test_what_spans_the_elements_determines_everything():
    reference = waters_and(*[[1, 1]] * 12, [8, 1])
    data = Data(reference="reference/synthetic.parquet", train=20, validation=1, test=4)
    assert not outside(reference, data, map(block, range(20)))


def said(quantity: str, reference: Reference) -> list[str]:
    study = Study.parse(text_of(quantity).replace("blocks = 1", "blocks = 40"), "targets.toml")
    planned = SimpleNamespace(study=study, measure=SimpleNamespace(reference=lambda _: reference), held=lambda _: None)
    return list(undetermined(planned))


def test_it_is_said_once_of_what_grows_with_the_structure():
    reference = waters_and([8, 1], [8, 1])
    (sentence,) = said("energy", reference)
    assert sentence.startswith(
        "the training split of reference/water_tiny.parquet does not determine the atomic references of HO in the test"
    )
    assert said("gap", reference) == []
    assert said("energy", waters_and()) == []


def test_a_plan_says_it_where_the_data_are(tmp_path):
    """Of a label too, of which the data alone tell that it grows with the structure."""
    (tmp_path / "reference").mkdir()
    reference = labelled([row(f"h2-{index}", [1, 1], PAIR) for index in range(13)] + [row("oh", [8, 1], PAIR)])
    (tmp_path / "reference" / "water_tiny.parquet").write_bytes(reference)
    study = Study.parse(text_of("label:u0").replace("blocks = 1", "blocks = 20"), "targets.toml")
    (sentence,) = [line for line in notes(plan(study, tmp_path), []) if "atomic references" in line]
    assert "does not determine the atomic references of HO in the test split, so their label:u0 is" in sentence


def labelled(rows: list[dict[str, Any]]) -> bytes:
    for index, one in enumerate(rows):
        one["label.u0"] = [-76.0 - index]
    return encode_reference(rows, None, "labelled", {"u0": Label(parse_irreps("0e"), "hartree", "structure")})
