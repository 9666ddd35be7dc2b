"""Extended XYZ frames: atoms and labels come out whole, and a bad frame is one clear sentence."""

import gzip
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
    assert first.info["energy"].item() == -76.4
    assert first.info["dipole"].tolist() == [0.1, 0.2, 0.3]
    assert first.info["polar"].tolist() == list(range(1, 10))
    assert first.info["name"] == "first"
    assert first.arrays["forces"].tolist() == [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]]
    assert first.arrays["charges"].tolist() == [-0.6, 0.3, 0.3]
    assert second.atomic_numbers == (1, 1)
    assert second.arrays == {}


def test_a_column_is_told_from_a_label_of_the_same_name(write):
    """ASE puts both into a calculator: a dipole of three atoms, and one of a structure."""
    text = "3\nProperties=species:S:1:pos:R:3:dipole:R:3\n" + "".join(f"H 0 0 {i} {i} 0 0\n" for i in range(3))
    (frame,) = read_frames(write(text))
    assert frame.arrays["dipole"].tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    assert "dipole" not in frame.info
    (frame,) = read_frames(write('3\ndipole="1 2 3"\n' + "".join(f"H 0 0 {i}\n" for i in range(3))))
    assert frame.info["dipole"].tolist() == [1, 2, 3]
    assert frame.arrays == {}


@pytest.mark.parametrize("key", ["stress", "virial"])
def test_nine_numbers_stay_in_the_files_order_whatever_they_are_called(write, key):
    """ASE makes six numbers of a stress, the first three and the last of each pair, and transposes a virial."""
    (frame,) = read_frames(write(f'1\n{key}="1 2 3 4 5 6 7 8 9" energy=-1\nH 0 0 0\n'))
    assert frame.info[key].tolist() == list(range(1, 10))
    assert frame.info["energy"].item() == -1
    text = f'1\nProperties=species:S:1:pos:R:3:{key}:R:9 {key}="9 8 7 6 5 4 3 2 1"\nH 0 0 0 1 2 3 4 5 6 7 8 9\n'
    (frame,) = read_frames(write(text))
    assert frame.info[key].tolist() == list(range(9, 0, -1))
    assert frame.arrays[key].tolist() == [list(range(1, 10))]
    with pytest.raises(DataError, match=f"frame 0 of .* cannot be read: Got info item {key}"):
        list(read_frames(write(f'1\n{key}="1 2 3 4 5 6"\nH 0 0 0\n')))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (WATER + PLAIN.replace("0.74", "nan"), r"expected finite coordinates, atom 1 in frame 1 of .*file\.xyz has"),
        (WATER + PLAIN.replace("0.74", "0.001"), "frame 1 of .* has atoms 0 and 1 at one"),
        (WATER + PLAIN.replace("H 0 0 0.74", "Qq 0 0 0.74"), "frame 1 of .* cannot be read"),
        (WATER + PLAIN.replace("H 0 0 0.74", "X 0 0 0.74"), "expected a chemical element .* atom 1 in frame 1"),
        (WATER + PLAIN.replace("0 0 0.74", "0 0"), "frame 1 of .* cannot be read"),
        (WATER + PLAIN.replace("H 0 0 0.74\n", ""), "frame 1 of .* ends before its 2 atoms do"),
        (PLAIN.replace("2", "4", 1) + WATER, "frame 0 of .* ends before its 4 atoms do: it has 2"),
        (PLAIN.replace("2", "9" * 15, 1), "frame 0 of .* ends before its 9{15} atoms do: it has 2"),
        (PLAIN.replace("2", "9" * 5000, 1), "expected a number of atoms, frame 0 of .* begins with '9{40}'"),
        ("3\n", "frame 0 of .* ends before its 3 atoms do: it has 0"),
        (WATER + "and so on\n", r"expected a number of atoms, frame 1 of .* begins with 'and so on'"),
        ("0\n\n", "frame 0 of .* begins with '0'"),
        ("id,energy\n1,2\n", "frame 0 of .* begins with 'id,energy'"),
        ("\n\n", "expected extended XYZ, .* holds no frame"),
        (PLAIN.replace("hydrogen", 'Lattice="9 0 0 0 9 0 0 0 9"'), r"frame 0 of .* is periodic; .* pbc=\"F F F\""),
    ],
)
def test_a_bad_frame_is_named(write, text, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        list(read_frames(write(text)))
    assert "\n" not in str(caught.value)


def test_a_cell_is_ignored_if_asked(write):
    path = write(PLAIN.replace("hydrogen", 'Lattice="9 0 0 0 9 0 0 0 9"'))
    (frame,) = read_frames(path, ignore_cell=True)
    np.testing.assert_array_equal(frame.positions, [[0, 0, 0], [0, 0, 0.74]])


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
    with pytest.raises(DataError, match="cannot be read: it is no text"):
        list(read_frames(path))


def test_frames_come_one_by_one(write):
    """The first is there before a later one is found to be torn."""
    frames = read_frames(write(WATER + "torn"))
    assert next(frames).index == 0
    with pytest.raises(DataError, match="frame 1"):
        next(frames)
