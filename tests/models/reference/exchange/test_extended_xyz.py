"""Extended XYZ frames: atoms and labels come out whole, and a bad frame is one clear sentence."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from tesseral.models.reference.exchange.extended_xyz import read_frames
from tesseral.study.errors import DataError

WATER = """\
3
Properties=species:S:1:pos:R:3:forces:R:3:charge:R:1 energy=-76.4 dipole="0.1 0.2 0.3" name=first polar="1 2 3 4 5 6 7 8 9" pbc="F F F"
O 0.0 0.0 0.117 0.1 0.2 0.3 -0.6
H 0.0 0.757 -0.47 0.4 0.5 0.6 0.3
H 0.0 -0.757 -0.47 0.7 0.8 0.9 0.3
"""  # noqa: E501
PLAIN = "2\nhydrogen, at some distance\nH 0 0 0\nH 0 0 0.74\n"


@pytest.fixture
def write(tmp_path):
    def written(text: str, name: str = "file.xyz") -> Path:
        path = tmp_path / name
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text)
        return path

    return written


@pytest.mark.parametrize("name", ["file.xyz", "file.xyz.gz"])
def test_labels_come_out_whatever_ase_takes_them_for(write, name):
    frames = list(read_frames(write(WATER + "\n" + PLAIN + "\n", name)))
    assert [frame.index for frame in frames] == [0, 1]
    first, second = frames
    assert first.atomic_numbers == (8, 1, 1)
    assert first.atomic_numbers == (8, 1, 1)
    assert first.positions[1].tolist() == [0.0, 0.757, -0.47]
    assert first.numbers("energy", "structure").tolist() == [[-76.4]]
    assert first.numbers("dipole", "structure").tolist() == [[0.1, 0.2, 0.3]]
    assert first.numbers("polar", "structure").tolist() == [list(range(1, 10))]
    assert first.text("name") == "first"
    assert first.numbers("forces", "atom").tolist() == [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]]
    assert first.numbers("charges", "atom").tolist() == [[-0.6], [0.3], [0.3]]  # ASE's name of the column
    assert first.names("structure") == ("energy", "dipole", "name", "polar")
    assert first.names("atom") == ("forces", "charge", "charges")
    assert second.atomic_numbers == (1, 1)
    assert second.names("atom") == ()


def test_a_column_is_told_from_a_label_of_the_same_name(write):
    text = "3\nProperties=species:S:1:pos:R:3:dipole:R:3\n" + "".join(f"H 0 0 {i} {i} 0 0\n" for i in range(3))
    (frame,) = read_frames(write(text))
    assert frame.numbers("dipole", "atom").tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    with pytest.raises(DataError, match=r"label 'dipole' for each structure, .* it has one for each atom"):
        frame.numbers("dipole", "structure")
    (frame,) = read_frames(write('3\ndipole="1 2 3"\n' + "".join(f"H 0 0 {i}\n" for i in range(3))))
    assert frame.numbers("dipole", "structure").tolist() == [[1, 2, 3]]
    with pytest.raises(DataError, match=r"label 'dipole' for each atom, .* it has one for each structure"):
        frame.numbers("dipole", "atom")


@pytest.mark.parametrize("key", ["stress", "virial", "alpha"])
def test_numbers_stay_in_the_files_order_whatever_they_are_called(write, key):
    """ASE makes six numbers of a stress, the first three and the last of each pair, and transposes a virial."""
    (frame,) = read_frames(write(f'1\n{key}="1 2 3 4 5 6 7 8 9" energy=-1\nH 0 0 0\n'))
    assert frame.numbers(key, "structure").tolist() == [list(range(1, 10))]
    text = f'1\nProperties=species:S:1:pos:R:3:{key}:R:9 {key}="9 8 7 6 5 4 3 2 1"\nH 0 0 0 1 2 3 4 5 6 7 8 9\n'
    (frame,) = read_frames(write(text))
    assert frame.numbers(key, "structure").tolist() == [list(range(9, 0, -1))]
    assert frame.numbers(key, "atom").tolist() == [list(range(1, 10))]


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        ("-1.5", [-1.5]),
        ('"1 2 3"', [1, 2, 3]),
        ("{1 2 3}", [1, 2, 3]),
        ("'1 2'", [1, 2]),
        ("[1,2,3]", [1, 2, 3]),
        ("[[1, 2], [3, 4]]", [1, 2, 3, 4]),
        ('"_JSON [209.44, 80.54]"', [209.44, 80.54]),
        ("-8.4813D-06", [-8.4813e-6]),
        ("8.0*^-6", [8e-6]),
        ('"1.5d+2 2"', [150, 2]),
    ],
)
def test_numbers_are_read_however_programs_write_them(value, numbers, write):
    (frame,) = read_frames(write(f"1\nbefore key={value} after=1\nH 0 0 0\n"))
    assert frame.numbers("key", "structure").tolist() == [numbers]
    assert frame.text("after") == "1"
    assert frame.text("before") is None


@pytest.mark.parametrize(
    ("comment", "sentence"),
    [
        ("key other=1", "label 'key' for each structure, frame 0 of .* has none: the key key stands alone"),
        ("key=N/A", "has none: the value is 'N/A'"),
        ("key=None", "has none: the value is 'None'"),
        ("other=1", "has none: it has other; only_complete"),
        ("key=T", "expected numbers in key, frame 0 of .* has 'T'"),
        ('key="T F T"', "expected numbers in key, frame 0 of .* has 'T'"),
        ("key=5_0", "expected numbers in key, frame 0 of .* has '5_0'"),
        ("key=1e308", r"expected numbers of at most 1e\+30 in key, frame 0 of .* has 1e\+308"),
        ("key=1e999", "expected finite numbers in key, frame 0"),
        ("key=1 key=2", "expected key once in the comment line, frame 0 of .* has 2 of it: '1' and '2'"),
    ],
)
def test_a_label_is_a_number_or_missing_and_said_so(comment, sentence, write):
    (frame,) = read_frames(write(f"1\n{comment}\nH 0 0 0\n"))
    with pytest.raises(DataError, match=sentence):
        frame.numbers("key", "structure")


def test_names_keep_their_characters(write):
    for name in ("0012", "1e3", "F", "5_0", "1.0", "a-b", '"a b"'):
        (frame,) = read_frames(write(f"1\nname={name}\nH 0 0 0\n"))
        assert frame.text("name") == name.strip('"')


@pytest.mark.parametrize(
    ("comment", "charge"),
    [("", None), ("charge=1", 1), ("total_charge=-1.0", -1), ("tot_charge=2 charge=2", 2), ("net_charge=0", 0)],
)
def test_the_charge_stands_under_the_usual_keys(comment, charge, write):
    (frame,) = read_frames(write(f"1\n{comment}\nH 0 0 0\n"))
    assert frame.charge("") == charge


@pytest.mark.parametrize(
    ("comment", "sentence"),
    [
        ("charge=0.5", "whole number under charge, frame 0 of .* has 0.5; say it"),
        ("charge=1e300", "has 1e300; say it"),
        ("charge", "has none; say it"),
        ("charge=1 total_charge=0", "one total charge, frame 0 of .* has charge = 1 and total_charge = 0; say it"),
    ],
)
def test_a_charge_that_is_none_is_refused(comment, sentence, write):
    (frame,) = read_frames(write(f"1\n{comment}\nH 0 0 0\n"))
    with pytest.raises(DataError, match=sentence):
        frame.charge("say it")


def test_isotopes_and_numbered_atoms_are_their_elements(write):
    (frame,) = read_frames(write("5\n\nD 0 0 0\nT 1 0 0\nC1 2 0 0\nCl12 3 0 0\n8 4 0 0\n"))
    assert frame.atomic_numbers == (1, 1, 6, 17, 8)
    assert frame.isotopes == 2


METHANE = """5
gdb 1\t157.7\t157.7\t157.7\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t0.044749\t-40.47893\t-40.476\t-40.475\t-40.498\t6.469\t
C\t-0.0126981359\t 1.0858041578\t 8.0*^-6\t-0.535689
H\t 0.002150416\t-0.0060313176\t 0.0019761204\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 0.0002765748\t 0.133922
H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923
1341.307\t1341.3284
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""  # noqa: E501


@pytest.mark.parametrize("kind", ["file", "folder", "zip", "tar", "tar.gz"])
def test_the_original_files_of_qm9_are_read_as_a_file_a_folder_or_an_archive(kind, write, tmp_path):
    path = write(METHANE * 2)
    if kind != "file":
        folder = tmp_path / "qm9"
        folder.mkdir()
        for number in (1, 2):
            (folder / f"dsgdb9nsd_00000{number}.xyz").write_text(METHANE)
        (folder / "readme.txt").write_text("no molecule")
        form = {"tar.gz": "gztar"}.get(kind, kind)
        path = folder if kind == "folder" else Path(shutil.make_archive(str(tmp_path / "packed"), form, folder))
    frames = list(read_frames(path))
    assert [frame.index for frame in frames] == [0, 1]
    for frame in frames:
        assert frame.atomic_numbers == (6, 1, 1, 1, 1)
        assert frame.positions[0, 2] == 8e-6
        assert frame.numbers("gap", "structure").item() == 0.5048
        assert frame.numbers("U0", "structure").item() == -40.47893
        assert frame.numbers("charges", "atom")[0].item() == -0.535689


def test_what_is_no_file_of_frames_is_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"expected files \.xyz or \.extxyz, .*empty cannot be read: it holds nothing"):
        list(read_frames(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (WATER + PLAIN.replace("0.74", "nan"), r"expected finite coordinates, atom 1 in frame 1 of .*file\.xyz has"),
        (WATER + PLAIN.replace("0.74", "0.001"), "frame 1 of .* has atoms 0 and 1 at one"),
        (WATER + PLAIN.replace("H 0 0 0.74", "Qq 0 0 0.74"), "chemical element .* atom 1 in frame 1 of .* has 'Qq'"),
        (WATER + PLAIN.replace("0.74", "1e308"), r"coordinates of at most 1e\+06, atom 1 in frame 1 of .* 1e\+308"),
        (WATER + PLAIN.replace("0.74", "x"), "frame 1 of .* cannot be read: the coordinate 'x'"),
        (WATER.replace("0.3 -0.6", "0.3"), "cannot be read: atom 0 has 7 columns of 8"),
        ("\n" * 1001 + PLAIN, "number of atoms, frame 0 of .* begins with 1,000 blank lines"),
        (WATER.replace("energy", "Properties=pos:R:3:species:S:1 energy"), "Properties once in the comment line, .* 2"),
        (WATER.replace("species:S:1", "species:S:2"), "cannot be read: species has more columns than one"),
        ("1\nProperties=species:S:1:pos:R:3:Z:I:1\nH 0 0 0 8\n", "one element .* atom 0 .* species 'H' and Z '8'"),
        (WATER.replace("charge:R:1", "charge:R:999999"), "atom 0 has 8 columns of 1000006"),
        (f"100000\nProperties=species:S:1:pos:R:3:f:R:999\n{PLAIN}", "at most 10,000,000 columns .* 100,000 × 1,003"),
        (WATER.replace(":pos:R:3", ""), "cannot be read: expected Properties such as"),
        (WATER.replace("charge:R:1", "charge:R:-1"), "cannot be read: expected Properties such as"),
        ("2\nProperties=Z:I:1:pos:R:3\n-1 0 0 0\n1 0 0 1\n", "chemical element .* atom 0 in frame 0 of .* has '-1'"),
        ("x" * 1_000_001, "expected lines of at most 1,000,000 characters, frame 0 of .* has a longer one"),
        (WATER + PLAIN.replace("H 0 0 0.74", "X 0 0 0.74"), "expected a chemical element .* atom 1 in frame 1"),
        (WATER + PLAIN.replace("0 0 0.74", "0 0"), "frame 1 of .* cannot be read"),
        (WATER + PLAIN.replace("H 0 0 0.74\n", ""), "frame 1 of .* ends before its 2 atoms do"),
        (PLAIN.replace("2", "4", 1) + WATER, "frame 0 of .* ends before its 4 atoms do: it has 2"),
        (PLAIN.replace("2", "999999999", 1), "at most 100,000 atoms, frame 0 of .* states 999,999,999"),
        (PLAIN.replace("2", "9" * 5000, 1), "expected a number of atoms, frame 0 of .* begins with '9{40}'"),
        ("3\n", "frame 0 of .* ends before its 3 atoms do: it has 0"),
        (WATER + "and so on\n", r"expected a number of atoms, frame 1 of .* begins with 'and so on'"),
        ("0\n\n", "frame 0 of .* begins with '0'"),
        ("id,energy\n1,2\n", "frame 0 of .* begins with 'id,energy'"),
        ("\n\n", "expected extended XYZ, .* holds no frame"),
        (
            PLAIN.replace("hydrogen", 'Lattice="9 0 0"'),
            r"9 numbers in Lattice .*, frame 0 of .* has 3; .* pbc=\"F F F\"",
        ),
        (PLAIN.replace("hydrogen", 'pbc="T T T"'), r"9 numbers in Lattice of a periodic frame, frame 0 of .* has 0"),
        (PLAIN.replace("hydrogen", 'Lattice="9 0 0 0 9 0 0 0 9" pbc=T'), r"3 values of pbc .*, frame 0 of .* has 1"),
        (PLAIN.replace("hydrogen", 'Lattice="9 0 0 0 9 0 9 9 0"'), "lattice vectors that span a cell, .*, in frame 0"),
        (
            PLAIN.replace("hydrogen", 'Lattice="9 0 0 0 9 0 0 0 .74"'),
            "place of its own, frame 0 .* has two at one, across",
        ),
    ],
)
def test_a_bad_frame_is_named(write, text, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        list(read_frames(write(text)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ['a="', "a=[ ", "a={ ", '="', " ", "a=1 ", '\\"'])
def test_a_long_comment_is_read_in_linear_time(text, write):
    """What follows from a comment of any form is the number before it; a quadratic reader takes hours here."""
    (frame,) = read_frames(write(f"1\nenergy=-1 {text * (900_000 // len(text))}\nH 0 0 0\n"))
    assert frame.numbers("energy", "structure").tolist() == [[-1]]


def test_a_frame_is_counted_in_its_own_file(tmp_path):
    for name, text in (("a.xyz", PLAIN * 3), ("b.xyz", PLAIN + "torn")):
        (tmp_path / name).write_text(text)
    frames = read_frames(tmp_path)
    assert [next(frames).index for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(DataError, match=r"frame 1 of .*b\.xyz begins with 'torn'"):
        next(frames)


def test_a_cell_is_ignored_if_asked(write):
    path = write(PLAIN.replace("hydrogen", 'Lattice="9 0 0 0 9 0 0 0 9"'))
    (frame,) = read_frames(path, ignore_cell=True)
    assert frame.cell is None
    np.testing.assert_array_equal(frame.positions, [[0, 0, 0], [0, 0, 0.74]])


@pytest.mark.parametrize(
    ("pbc", "repeats"),
    [("", [1, 1, 1]), (' pbc="T T T"', [1, 1, 1]), (' pbc="T F T"', [1, 0, 1]), (' pbc="F F F"', None)],
)
def test_a_cell_has_the_lattice_vectors_that_repeat(write, pbc, repeats):
    (frame,) = read_frames(write(PLAIN.replace("hydrogen", f'Lattice="9 0 0 1 8 0 0 2 7"{pbc}')))
    if repeats is None:
        assert frame.cell is None
    else:
        np.testing.assert_array_equal(
            frame.cell, np.array([[9, 0, 0], [1, 8, 0], [0, 2, 7]]) * np.array(repeats)[:, None]
        )


@pytest.mark.parametrize("lattice", ['"0 0 0 0 0 0 0 0.0 0"', "[0,0,0,0,0,0,0,0,0]", '"[[0, 0, 0], [0, 0, 0]]"'])
@pytest.mark.parametrize("pbc", ["", ' pbc="T T T"', ' pbc="F F F"'])
def test_a_lattice_of_zeros_is_no_cell(write, lattice, pbc):
    (frame,) = read_frames(write(PLAIN.replace("hydrogen", f"Lattice={lattice}{pbc}")))
    assert frame.atomic_numbers == (1, 1)


def test_a_mark_of_the_byte_order_is_no_number_of_atoms(write):
    assert len(list(read_frames(write("\ufeff" + PLAIN)))) == 1


def test_a_bad_file_is_one_sentence(write, tmp_path):
    with pytest.raises(DataError, match=r"absent\.xyz cannot be read: No such file"):
        list(read_frames(tmp_path / "absent.xyz"))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_frames(tmp_path))
    whole = gzip.compress((WATER * 200).encode())
    for torn in (whole[: len(whole) // 2], b"no gzip", whole[:-1]):
        path = tmp_path / "torn.xyz.gz"
        path.write_bytes(torn)
        with pytest.raises(DataError, match=r"torn\.xyz\.gz"):
            list(read_frames(path))
    path = tmp_path / "binary.xyz"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="cannot be read: it has the byte 0x80; if it is Latin-1"):
        list(read_frames(path))


def test_frames_come_one_by_one(write):
    """The first is there before a later one is found to be torn."""
    frames = read_frames(write(WATER + "torn"))
    assert next(frames).index == 0
    with pytest.raises(DataError, match="frame 1"):
        next(frames)
