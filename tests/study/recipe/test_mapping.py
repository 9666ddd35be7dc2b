"""Mappings: what they say is checked."""

from pathlib import Path

import pytest

from tesseral.study.errors import StudyFileError
from tesseral.study.recipe.mapping import read_mapping
from tests.support.mappings import label, mapping
from tests.support.mistakes import MAPPING_MISTAKES

EXAMPLES = Path(__file__).parents[3] / "study" / "examples"


@pytest.mark.parametrize(("keys", "sentence"), MAPPING_MISTAKES)
def test_a_mistake_in_a_mapping_is_one_sentence(keys, sentence):
    with pytest.raises(StudyFileError, match=sentence) as caught:
        mapping(label(**keys))
    assert str(caught.value).startswith("labels (entry 1)")
    assert "\n" not in str(caught.value)


def test_two_labels_do_not_fill_one_column(tmp_path):
    path = tmp_path / "mapping.toml"
    one = '[[labels]]\nname = "a"\ncolumn = "energy"\nunit = "eV"\n'
    path.write_text(f'[reference]\nname = "x"\n[source]\nfile = "x.xyz"\n{one}{one}')
    with pytest.raises(
        StudyFileError, match=r"labels \(entry 2\)\.column: expected a column that no other label fills"
    ):
        read_mapping(path)


def test_the_examples_are_read():
    mappings = [read_mapping(path) for path in EXAMPLES.glob("mapping_*.toml")]
    assert mappings
    columns = {one.column for each in mappings for one in each.labels}
    assert {"energy", "forces", "dipole", "polarizability"} <= columns
