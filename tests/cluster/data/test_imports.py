"""Imports by the command line: mappings and pickles, what is printed, and what is refused."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.io import write as write_frames
from typer.testing import CliRunner

from tesseral.cluster.commands.cli import app
from tesseral.cluster.data.imports import import_mapping
from tesseral.models.data.reference_file import read_reference
from tesseral.study.configuration.quantities import Label
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.parsing.irreps import parse_irreps

MAPPING = """
[reference]
name = "made"
method = "point charges"

[source]
file = "made.xyz"

[[labels]]
name = "mu"
column = "dipole"
unit = "e angstrom"

[[labels]]
name = "field"
column = "field"
unit = "V/nm"
irreps = "1o"
per = "atom"
"""


@pytest.fixture
def mapping(tmp_path):
    """A mapping, and beside it forty waters of charges 0.4 and −0.8 with their dipoles and a vector for each atom."""
    generator = np.random.default_rng(0)
    frames = []
    for _ in range(40):
        positions = generator.normal(size=(3, 3)) + 5
        frame = Atoms("OHH", positions, info={"mu": np.array([-0.8, 0.4, 0.4]) @ positions})
        frame.new_array("field", generator.normal(size=(3, 3)))
        frames.append(frame)
    write_frames(tmp_path / "made.xyz", frames, format="extxyz")
    path = tmp_path / "mapping.toml"
    path.write_text(MAPPING)
    return path


def tesseral(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_mapping_is_imported_and_its_axes_checked(mapping, tmp_path):
    done = tesseral("reference", "import", mapping, "--storage", tmp_path / "runs")
    assert done.exit_code == 0, done.output
    # The constant that they share aside, charges −0.8 and 0.4 are −0.6 and 0.6.
    assert "mu: R² 1.00 by charges of the elements (H +" in done.output
    assert "Imported: 40 structures with dipole, label.field: " in done.output
    imported = read_reference(tmp_path / "runs" / "reference" / "made.parquet")
    assert imported.labels == {"field": Label(parse_irreps("1o"), "V/nm", "atom")}
    assert imported.table["method"][0].as_py() == "point charges"
    stored = json.loads(imported.table.schema.metadata[b"tesseral.mapping"])
    assert stored["labels"][0]["unit"] == "e angstrom"
    assert imported.basis is None


def test_the_same_as_json(mapping, tmp_path):
    done = tesseral("reference", "import", mapping, "--storage", tmp_path / "runs", "--json")
    tree = json.loads(done.stdout)
    assert tree["structures"] == 40
    assert tree["elements"] == [1, 8]
    assert tree["columns"] == ["dipole", "label.field"]
    assert tree["location"] == str(tmp_path / "runs" / "reference" / "made.parquet")
    assert len(tree["notes"]) == 1
    assert tree["doubts"] == []


def test_doubtful_axes_are_warned_of_and_imported_all_the_same(mapping, tmp_path):
    text = (mapping.parent / "made.xyz").read_text()
    lines = []
    for line in text.splitlines():
        before, quote, rest = line.partition('mu="')
        if quote:
            numbers, _, after = rest.partition('"')
            x, y, z = numbers.split()
            line = f'{before}mu="{y} {z} {x}"{after}'
        lines.append(line)
    (mapping.parent / "made.xyz").write_text("\n".join(lines) + "\n")
    with pytest.warns(UserWarning, match=r"mu: the vectors fit the atoms better as \(z, x, y\) \(R² 1\.00\)"):
        done = import_mapping(mapping, str(tmp_path / "runs"))
    assert len(done.doubts) == 1
    assert (tmp_path / "runs" / "reference" / "made.parquet").exists()


@pytest.mark.parametrize(
    ("column", "unit", "checked"),
    [
        ("dipole", "au", True),
        ("mine", "e*angstrom", True),
        ("mine", "debye", True),
        ("mine", "hartree/bohr", False),
        ("mine", "furlong", False),
        ("mine", "au", False),
    ],
)
def test_axes_of_dipoles_alone_are_checked(mapping, tmp_path, column, unit, checked):
    """Charges do not explain vectors of other kinds, such as the sum of forces: they were always doubted."""
    keys = f'column = "{column}"\nunit = "{unit}"\nirreps = "1o"'
    mapping.write_text(MAPPING.replace('column = "dipole"\nunit = "e angstrom"', keys))
    done = import_mapping(mapping, str(tmp_path / "runs"))
    assert [note.partition(":")[0] for note in done.notes] == ["mu"] * checked
    if unit == "e*angstrom":  # fitted charges are in e, whatever the unit
        assert "(H +0.600, O -0.600)" in done.notes[0]


def test_nothing_is_overwritten_and_mistakes_write_nothing(mapping, tmp_path):
    storage = str(tmp_path / "runs")
    import_mapping(mapping, storage)
    before = (tmp_path / "runs" / "reference" / "made.parquet").read_bytes()
    with pytest.raises(DataError, match=r"made\.parquet exists already"):
        import_mapping(mapping, storage)
    assert (tmp_path / "runs" / "reference" / "made.parquet").read_bytes() == before
    mapping.write_text(MAPPING.replace('"made"', '"other"').replace('"mu"', '"absent"'))
    with pytest.raises(DataError, match=r"frame 0 of .* has none: it has mu"):
        import_mapping(mapping, storage)
    mapping.write_text(MAPPING.replace('"e angstrom"', '"furlong"'))
    with pytest.raises(StudyFileError, match=r"mapping\.toml: labels\.0: expected a unit"):
        import_mapping(mapping, storage)
    assert [path.name for path in (tmp_path / "runs" / "reference").iterdir()] == ["made.parquet"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trimers.pkl"], "expected a mapping .* got trimers.pkl without --hydrogen"),
        (["trimers.pkl", "--hydrogen", "h.out"], "without --oxygen"),
        (["mapping.toml", "--name", "x"], "with a pickle only; mapping.toml is a mapping"),
        (["absent.toml"], "expected a TOML file"),
    ],
)
def test_options_that_contradict_are_refused(words, sentence):
    done = tesseral("reference", "import", *words)
    with pytest.raises((DataError, StudyFileError), match=sentence):
        raise done.exception
