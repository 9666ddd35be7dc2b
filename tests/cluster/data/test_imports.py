"""Imports by the command line: mappings and pickles, what is printed, and what is refused."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.io import write as write_frames
from typer.testing import CliRunner

from tesseral.cluster.commands.app import app
from tesseral.cluster.data.imports import import_mapping
from tesseral.models.data.reference_file import read_reference
from tesseral.study.configuration.quantities import Label
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.parsing.irreps import parse_irreps
from tests.support.periodic_structures import labelled, periodic_row

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
        positions = 0.6 * generator.normal(size=(3, 3)) + 5
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
    import_mapping(mapping, storage)  # the same again: perhaps the answer to the first was lost
    mapping.write_text(MAPPING.replace("point charges", "none"))
    with pytest.raises(DataError, match=r"made\.parquet exists already"):
        import_mapping(mapping, storage)
    assert (tmp_path / "runs" / "reference" / "made.parquet").read_bytes() == before
    mapping.write_text(MAPPING.replace('"made"', '"other"').replace('"mu"', '"absent"'))
    with pytest.raises(DataError, match=r"frame 0 of .* has none: it has mu"):
        import_mapping(mapping, storage)
    mapping.write_text(MAPPING.replace('"e angstrom"', '"furlong"'))
    with pytest.raises(StudyFileError, match=r"mapping\.toml: labels \(entry 1\): expected a unit"):
        import_mapping(mapping, storage)
    assert [path.name for path in (tmp_path / "runs" / "reference").iterdir()] == ["made.parquet"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trimers.pkl"], "expected a mapping .* got trimers.pkl without --hydrogen"),
        (["trimers.pkl", "--hydrogen", "h.out"], "without --oxygen"),
        (["."], r"expected a mapping \(\.toml\), got \.; a mapping names it as source\.file"),
        (["qm9.tar.bz2"], r"got qm9\.tar\.bz2; a mapping names it as source\.file"),
        (["waters.XYZ"], r"got waters\.XYZ; a mapping names it as source\.file"),
        (["mapping.toml", "--name", "x"], "with a pickle only; mapping.toml is a mapping"),
        (["absent.toml"], "expected a TOML file"),
    ],
)
def test_options_that_contradict_are_refused(words, sentence):
    done = tesseral("reference", "import", *words)
    with pytest.raises((DataError, StudyFileError), match=sentence):
        raise done.exception


WATER = "3\n{comment}\nO 0 0 0.117\nH 0 0.757 -0.47\nH 0 -0.757 {z}\n"


@pytest.fixture
def imported(tmp_path):
    """Import waters with these comment lines by a mapping with these further keys."""

    def made(*comments: str, source: str = "", label: str = 'name = "energy"\ncolumn = "energy"\nunit = "hartree"'):
        frames = [WATER.format(comment=comment, z=-0.47 + 0.01 * n) for n, comment in enumerate(comments)]
        (tmp_path / "made.xyz").write_text("".join(frames))
        path = tmp_path / "mapping.toml"
        path.write_text(f'[reference]\nname = "made"\n[source]\nfile = "made.xyz"\n{source}\n[[labels]]\n{label}\n')
        (tmp_path / "runs" / "reference" / "made.parquet").unlink(missing_ok=True)
        done = import_mapping(path, str(tmp_path / "runs"))
        return done, read_reference(done.location).table

    return made


def test_a_label_without_a_value_is_no_number(imported):
    with pytest.raises(DataError, match=r"frame 1 of .* has none: the key energy stands alone"):
        imported("energy=-76", "energy other=1")


def test_frames_without_a_label_are_left_out_if_asked_and_counted(imported):
    frames = ("energy=-76", "energy", "other=1", "energy=N/A", "energy=-75")
    done, table = imported(*frames, source="only_complete = true")
    assert table["energy"].to_pylist() == [-76, -75]
    assert table["id"].to_pylist() == ["made-000000", "made-000004"]
    assert done.notes == ("left out 3 frames without energy",)
    with pytest.raises(DataError, match=r"expected 3 frames of .* it has 2, and 3 frames without energy"):
        imported(*frames, source="only_complete = true\ncount = 3")


def test_names_are_text(imported):
    names = ["0012", "1e3", "F", "5_0", "1.0", "1.00", "10", "1_0"]
    _, table = imported(*(f"energy=-76 name={name}" for name in names), source='id = "name"')
    assert table["id"].to_pylist() == names


def test_only_what_is_mapped_is_read(imported):
    _, table = imported('energy=-76 stress="0.1 0.2 0.3 0 0 0" dipole="N/A" note=a note=b')
    assert table["energy"].to_pylist() == [-76]


def test_a_count_that_the_file_lacks_is_refused(imported):
    with pytest.raises(DataError, match=r"expected 1,000 frames of .* from number 1 on by steps of 2, it has 1"):
        imported("energy=-76", "energy=-75", source="count = 1000\nfirst = 1\nevery = 2")


def test_the_charge_and_the_electrons_are_questioned(imported):
    _, table = imported("energy=-76 total_charge=1", "energy=-75 charge=0", source="ignore_cell = true")
    assert table["charge"].to_pylist() == [1, 0]
    for source, sentence in (
        (
            "charge = 1",
            "1 structure of 1 has an odd number of electrons .*; if the charges are right, they are radicals",
        ),
        ('charge = "q"', "1 structure of 1 has an odd number of electrons .*: 9 at charge 1"),
        ("every = 1", "1 structure of 1 has an odd .* at charge 1.; if they are ions, state source.charge"),
    ):
        with pytest.warns(UserWarning, match=sentence):
            imported("energy=-76 q=1 charge=1", source=source)
    done, table = imported("energy=-76", source="charge = 1\nspin = 1")
    assert (done.doubts, table["spin"].to_pylist()) == ((), [1])
    for source, sentence in (("spin = 1", "10 electrons allow, .* has 1"), ("charge = 11", "nuclei allow, .* has 11")):
        with pytest.raises(DataError, match=sentence):
            imported("energy=-76", source=source)


def test_positions_in_bohr_are_converted_and_doubted_where_they_seem_to_be(imported, tmp_path):
    _, table = imported("energy=-76", source='unit = "angstrom"')
    angstrom = np.array(table["positions"].to_pylist())
    with pytest.warns(UserWarning, match=r"bond lengths from their neighbours, .*unit = \"angstrom\" of \[source\]"):
        _, table = imported("energy=-76", source='unit = "bohr"')
    np.testing.assert_allclose(np.array(table["positions"].to_pylist()), angstrom * 0.529177210903, rtol=1e-9)
    frame = "2\nenergy=-1\nH 0 0 0\nO 0 0 1.81\n"
    path = tmp_path / "mapping.toml"
    (tmp_path / "made.xyz").write_text(frame)
    with pytest.warns(UserWarning, match='unit = "bohr" of'):
        import_mapping(_angstrom(path), str(tmp_path / "again"))


def _angstrom(path):
    path.write_text(path.read_text().replace('unit = "bohr"', 'unit = "angstrom"'))
    return path


def test_a_geometry_that_is_there_twice_is_said(imported, tmp_path):
    imported("energy=-76")
    frame = WATER.format(comment="energy=-76", z=-0.47)
    (tmp_path / "made.xyz").write_text(frame * 3)
    with pytest.warns(UserWarning, match="2 structures of 3 have the same geometry as an earlier one"):
        import_mapping(tmp_path / "mapping.toml", str(tmp_path / "again"))


@pytest.mark.parametrize(
    ("order", "numbers"),
    [("xx yy zz xy xz yz", "1 2 3 4 5 6"), ("voigt", "1 2 3 6 5 4"), ("xx xy yy xz yz zz", "1 4 2 5 6 3")],
)
def test_six_numbers_of_a_symmetric_tensor_are_the_nine(order, numbers, imported):
    label = 'name = "alpha"\ncolumn = "polarizability"\nunit = "bohr^3"'
    _, nine = imported('alpha="1 4 5 4 2 6 5 6 3"', label=label)
    _, six = imported(f'alpha="{numbers}"', label=f'{label}\norder = "{order}"')
    assert six["polarizability"].to_pylist() == nine["polarizability"].to_pylist()
    with pytest.raises(DataError, match=r"expected 9 numbers .* has 6; order = \"xx yy zz xy xz yz\" states theirs"):
        imported(f'alpha="{numbers}"', label=label)


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        ("xx xx zz xy xz yz", "expected each of xx, yy, zz, xy, xz and yz once"),
        ("xx yy", r"labels \(entry 1\)\.order: "),
        ("voigt", "expected order = 'voigt' for a Cartesian tensor of rank 2, got cartesian irreps"),
    ],
)
def test_an_order_that_is_none_is_refused(order, sentence, imported):
    column = "dipole" if order == "voigt" else "polarizability"
    unit = "e bohr" if order == "voigt" else "bohr^3"
    with pytest.raises(StudyFileError, match=sentence):
        imported("a=1", label=f'name = "a"\ncolumn = "{column}"\nunit = "{unit}"\norder = "{order}"')


def test_an_import_without_a_target_is_a_whole_sentence(mapping, tmp_path):
    mapping.write_text(
        '[reference]\nname = "made"\n[source]\nfile = "made.xyz"\n'
        '[[labels]]\nname = "q"\ncolumn = "charges"\nunit = "e"\n'
    )
    (tmp_path / "made.xyz").write_text("1\nProperties=species:S:1:pos:R:3:q:R:1\nHe 0 0 0 0.5\n")
    done = tesseral("reference", "import", mapping, "--storage", tmp_path / "runs")
    assert "Imported: 1 structure with no label that a study can predict: " in done.output


STRESS = """name = "{name}"
column = "stress"
unit = "{unit}"
{more}"""


def test_periodic_frames_of_ase_are_imported_with_their_cell_and_stress(tmp_path):
    """Energies, forces and stresses of ASE, in eV and Å, become hartree and bohr; cells keep Å."""
    frames = [labelled(seed) for seed in range(3)]
    write_frames(tmp_path / "made.xyz", frames, format="extxyz")
    labels = [("energy", "eV"), ("forces", "eV/angstrom"), ("stress", "eV/angstrom^3")]
    tables = "".join(f'[[labels]]\nname = "{n}"\ncolumn = "{n}"\nunit = "{unit}"\n' for n, unit in labels)
    (tmp_path / "mapping.toml").write_text(f'[reference]\nname = "made"\n[source]\nfile = "made.xyz"\n{tables}')
    # These cells are none of nature: the distances are looked at across the boundary too.
    with pytest.warns(UserWarning, match=r"atoms are 1\.7. bond lengths from their neighbours"):
        done = import_mapping(tmp_path / "mapping.toml", str(tmp_path / "runs"))
    assert done.columns == ("energy", "forces", "stress")
    assert done.notes == ("periodic: 3 of 3 structures",)
    for seed, row in enumerate(read_reference(done.location).table.to_pylist()):
        expected = periodic_row(seed)
        np.testing.assert_allclose(row["cell"], expected["cell"], atol=1e-7)
        np.testing.assert_allclose(row["forces"], expected["forces"], atol=1e-8)
        np.testing.assert_allclose(row["stress"], expected["stress"], rtol=1e-6, atol=1e-10)


def test_isolated_atoms_in_large_boxes_have_no_distances_to_doubt(tmp_path):
    """No atom has a neighbour there, so nothing is told of the unit; one molecule beside them tells it."""
    box = 'Lattice="20 0 0 0 20 0 0 0 20" pbc="T T T" '
    atoms = [f"1\n{box}energy={-energy}\n{symbol} 0 0 0\n" for symbol, energy in (("He", 3), ("Ne", 128))]
    path = tmp_path / "mapping.toml"
    energy = '[[labels]]\nname = "energy"\ncolumn = "energy"\nunit = "hartree"\n'
    path.write_text(f'[reference]\nname = "made"\n[source]\nfile = "made.xyz"\n{energy}')
    (tmp_path / "made.xyz").write_text("".join(atoms))
    assert import_mapping(path, str(tmp_path / "runs")).doubts == ()
    (tmp_path / "made.xyz").write_text("".join(atoms) + f"2\n{box}energy=-1\nF 0 0 0\nH 0 0 1.73\n")
    with pytest.warns(UserWarning, match='atoms are 1.9. bond lengths from their neighbours.*unit = "bohr" of'):
        import_mapping(path, str(tmp_path / "again"))


def test_conventions_of_the_stress_agree(imported):
    """A pressure has the opposite sign; a virial is minus volume times stress: 9·8·7 Å³ here."""
    cell = 'Lattice="9 0 0 0 8 0 0 0 7" '
    stresses = []
    for name, unit, scale, more in (
        ("stress", "eV/angstrom^3", 1.0, ""),
        ("stress", "GPa", 160.21766208, 'convention = "tension"'),
        ("pressure", "kbar", -1602.1766208, 'convention = "compression"'),
        ("virial", "eV", -9 * 8 * 7, 'convention = "virial"'),
    ):
        numbers = " ".join(str(scale * value) for value in (0.01, 0.002, 0.003, 0.002, 0.02, 0, 0.003, 0, -0.01))
        label = STRESS.format(name=name, unit=unit, more=more)
        _, table = imported(f'{cell}{name}="{numbers}"', label=label)
        stresses.append(table["stress"].to_pylist()[0])
    for stress in stresses[1:]:
        np.testing.assert_allclose(stress, stresses[0], rtol=1e-7, atol=1e-12)
    assert stresses[0][0] == pytest.approx(0.02 / 3**0.5 / 27.211386245988 * 0.52917721092**3, rel=1e-8)


def test_what_has_no_meaning_is_refused(imported):
    cell, dipole = 'Lattice="9 0 0 0 8 0 0 0 7" ', 'name = "mu"\ncolumn = "dipole"\nunit = "debye"'
    with pytest.raises(
        DataError, match=r"expected no dipole of periodic structures, .* the label mu is one of frame 0"
    ):
        imported(f'{cell}mu="0 0 1"', label=dipole)
    imported(f'{cell}mu="0 0 1"', label=dipole, source="ignore_cell = true")
    stress = STRESS.format(name="s", unit="GPa", more='order = "voigt"')
    for comment, axes in (("", 0), (f'{cell}pbc="T F T" ', 2)):
        with pytest.raises(DataError, match=f"repeat along three axes for the label s, .* repeats along {axes}"):
            imported(f'{comment}s="1 2 3 4 5 6"', label=stress)
    with pytest.raises(
        StudyFileError, match=r"'tension', 'compression' or 'virial' and no origin for a stress, got 'mom"
    ):
        imported(cell, label=STRESS.format(name="s", unit="GPa", more='convention = "moment"'))
