"""Labels of a file come out in our units, order, axes and origin."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write as write_frames
from e3nn import o3
from scipy.spatial.transform import Rotation

from tesseral.models.reference.exchange.extended_xyz import Frame
from tesseral.models.reference.exchange.frame_labels import import_frames
from tesseral.models.reference.exchange.label_values import label_values
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError
from tesseral.study.parsing.validation import validate
from tesseral.study.recipe.mapping import LabelSource
from tests.support.mappings import label, mapping

POINTS = np.array([[0.0, 0.0, 0.1], [0.3, 0.8, -0.5], [0.2, -0.7, -0.4]])


def frame(charge: int | None = None, **labels: object) -> Frame:
    """Water with labels of the structure."""
    given = labels if charge is None else labels | {"charge": charge}
    info = {key: (value if isinstance(value, str) else text(value),) for key, value in given.items()}
    return Frame(7, "frame 7", (8, 1, 1), POINTS, info, {}, [])


def text(values: object) -> str:
    return " ".join(map(repr, np.asarray(values, dtype=float).ravel().tolist()))


def values(one: Frame, charge: int = 0, **keys: object) -> np.ndarray:
    return label_values(one, validate(LabelSource, label(**keys)), charge, "frame 7")[0]


def test_a_vector_stays_x_y_z():
    one = frame(mine=[1.0, 2.0, 3.0])
    np.testing.assert_array_equal(values(one, column="dipole"), [1, 2, 3])
    np.testing.assert_array_equal(values(one, column="dipole", scale=-2.0), [-2, -4, -6])
    np.testing.assert_array_equal(values(one, column="v", irreps="1o", form="spherical", order="m"), [3, 1, 2])
    assert values(one, column="dipole", unit="debye")[0] == pytest.approx(0.39343, rel=1e-5)


def test_a_matrix_comes_by_rows_or_as_a_matrix():
    matrix = np.array([[1.0, 0.1, 0.2], [0.1, 2.0, 0.3], [0.2, 0.3, 3.0]])
    expected = values(frame(mine=matrix), column="polarizability")
    np.testing.assert_array_equal(values(frame(mine=matrix.ravel()), column="polarizability"), expected)
    assert expected[0] == pytest.approx(6 / np.sqrt(3))
    assert (expected**2).sum() == pytest.approx((matrix**2).sum())


def test_labels_of_atoms_come_for_each_atom():
    tensors = np.random.default_rng(0).normal(size=(3, 9))
    rows = [text(row).split() for row in tensors]
    one = Frame(7, "frame 7", (8, 1, 1), POINTS, {}, {"mine": slice(0, 9)}, rows)
    converted = values(one, column="shielding", irreps="0e+1e+2e", per="atom")
    assert converted.shape == (3, 9)
    np.testing.assert_allclose((converted**2).sum(axis=1), (tensors**2).sum(axis=1))


def moments(charges: np.ndarray, points: np.ndarray, rank: int) -> np.ndarray:
    """Σ q r…r of charges about the centre of nuclear charge of water."""
    centre = np.array([8, 1, 1]) @ POINTS / 10
    arms = (points - centre) / BOHR
    return {
        1: np.einsum("i,ia->a", charges, arms),
        2: np.einsum("i,ia,ib->ab", charges, arms, arms),
        3: np.einsum("i,ia,ib,ic->abc", charges, arms, arms, arms),
    }[rank]


CHARGES = np.array([-0.7, 0.4, 0.5, -0.2])
PLACES = np.concatenate([POINTS, [[0.4, 0.5, 0.6]]])


def racah(order: int) -> np.ndarray:
    """Σ q C_lm r^l by e3nn's harmonics."""
    arms = (PLACES - np.array([8, 1, 1]) @ POINTS / 10) / BOHR
    harmonics = o3.spherical_harmonics(order, torch.tensor(arms), normalize=False, normalization="norm").numpy()
    return CHARGES @ harmonics


@pytest.mark.parametrize(("column", "rank"), [("quadrupole", 2), ("octupole", 3)])
def test_cartesian_multipoles_become_racahs(column, rank):
    moment = moments(CHARGES, PLACES, rank)
    keys = {"column": column, "origin": "nuclear_charge"}
    np.testing.assert_allclose(values(frame(mine=moment), convention="moment", **keys), racah(rank), atol=1e-12)
    if rank == 2:
        theta = (3 * moment - np.eye(3) * np.trace(moment)) / 2
        np.testing.assert_allclose(values(frame(mine=theta), convention="buckingham", **keys), racah(2), atol=1e-12)
    with pytest.raises(DataError, match="of its norm is something else"):
        values(frame(mine=moment), convention="buckingham", **keys)


def test_buckinghams_octupole_becomes_racahs():
    """Ω_abc = ½ Σ q (5 r_a r_b r_c − r² (r_a δ_bc + r_b δ_ac + r_c δ_ab))."""
    moment = moments(CHARGES, PLACES, 3)
    trace, delta = np.einsum("aab->b", moment), np.eye(3)
    parts = [np.einsum(form, trace, delta) for form in ("a,bc->abc", "b,ac->abc", "c,ab->abc")]
    omega = (5 * moment - sum(parts)) / 2
    converted = values(frame(mine=omega), column="octupole", origin="nuclear_charge", convention="buckingham")
    np.testing.assert_allclose(converted, racah(3), atol=1e-12)


@pytest.mark.parametrize("origin", ["nuclear_charge", "coordinates", "mass"])
def test_the_dipole_of_an_ion_comes_about_the_centre_of_nuclear_charge(origin):
    charges = CHARGES + 0.25  # 1 e in all
    masses = np.array([15.999, 1.008, 1.008])
    places = {
        "nuclear_charge": np.array([8, 1, 1]) @ POINTS / 10,
        "coordinates": np.zeros(3),
        "mass": masses @ POINTS / masses.sum(),
    }
    given = charges @ (PLACES - places[origin]) / BOHR
    converted = values(frame(mine=given), 1, column="dipole", origin=origin)
    np.testing.assert_allclose(converted, moments(charges, PLACES, 1), atol=1e-12)
    with pytest.raises(
        DataError, match="expected an origin of mine, since the dipole of the charged molecule in frame 7"
    ):
        values(frame(mine=given), 1, column="dipole")


def test_an_asymmetric_part_is_refused_or_left_out_and_said(tmp_path):
    matrix = np.diag([1.0, 2.0, 3.0])
    matrix[0, 1], matrix[1, 0] = 0.01, -0.01
    with pytest.raises(DataError, match=r"in frame 7 0\.0038 of its norm .* symmetrize = true"):
        values(frame(mine=matrix), column="polarizability")
    converted = values(frame(mine=matrix), column="polarizability", symmetrize=True)
    np.testing.assert_allclose(
        converted, values(frame(mine=np.diag([1.0, 2.0, 3.0])), column="polarizability"), atol=1e-15
    )
    nearly = np.diag([1.0, 2.0, 3.0])
    nearly[0, 1] = 1e-6
    assert values(frame(mine=nearly), column="polarizability").shape == (6,)
    save(tmp_path, [matrix, np.eye(3), 2 * matrix])
    imported = import_frames(mapping(label("polarizability", symmetrize=True)), tmp_path)
    assert imported.notes == ["mine: left out what is not 1x0e+1x2e in 2 of 3 structures, at most 0.0038 of its norm"]
    with pytest.raises(DataError, match=r"0\.0038 of its norm"):
        import_frames(mapping(label("polarizability")), tmp_path)


@pytest.mark.parametrize("key", ["stress", "virial"])
def test_an_asymmetric_stress_is_refused_too(tmp_path, key):
    """Of which ASE would leave the symmetric part alone, or the transpose."""
    path, made = tmp_path / "made.xyz", label("mine", irreps="0e+2e") | {"name": key}
    path.write_text(f'1\n{key}="1 2 3 2 5 6 3 6.1 9"\nH 0 0 0\n')
    with pytest.raises(DataError, match=f"expected {key} to hold 1x0e\\+1x2e alone, in frame 0 .* asymmetric part"):
        import_frames(mapping(made), tmp_path)
    path.write_text(f'1\n{key}="1 2 3 2 5 6 3 6 9"\nH 0 0 0\n')
    (row,) = import_frames(mapping(made), tmp_path).table.to_pylist()
    matrix = np.array([[1.0, 2, 3], [2, 5, 6], [3, 6, 9]])
    np.testing.assert_allclose(row["label.mine"], values(frame(mine=matrix), column="mine", irreps="0e+2e"))
    path.write_text(f'1\n{key}="0 0 0 0 0 1 0 -1 0"\nH 0 0 0\n')
    (row,) = import_frames(mapping(made | {"irreps": "1e"}), tmp_path).table.to_pylist()
    turn = np.array([[0.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # by rows, and not its transpose
    np.testing.assert_allclose(row["label.mine"], values(frame(mine=turn), column="mine", irreps="1e"))


def save(folder: Path, labels: list, **info: object) -> None:
    """Waters with a label each, as ASE writes them."""
    frames = [Atoms("OHH", POINTS, info={"mine": np.asarray(one).ravel(), **info}) for one in labels]
    write_frames(folder / "made.xyz", frames, format="extxyz")


@pytest.mark.parametrize(("rank", "irreps"), [(2, "0e+2e"), (3, "1o+3o")])
def test_labels_of_a_turned_file_are_turned(tmp_path, rank, irreps):
    """Through a file: polarizability as 3×3, first hyperpolarizability as 3×3×3."""
    moment = moments(CHARGES, PLACES, rank)
    rotation = Rotation.random(random_state=3).as_matrix()
    save(tmp_path, [moment, turned(moment, rotation)])
    rows = import_frames(mapping(label("mine", irreps=irreps)), tmp_path).table.to_pylist()
    first, second = (np.array(row["label.mine"]) for row in rows)
    wigner = o3.Irreps(irreps).D_from_matrix(torch.from_numpy(rotation)).numpy()
    np.testing.assert_allclose(second, wigner @ first, atol=1e-6 * np.abs(first).max())
    assert np.abs(second - first).max() > 0.1


def turned(tensor: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    for axis in range(tensor.ndim):
        tensor = np.moveaxis(np.tensordot(rotation, tensor, axes=(1, axis)), 0, axis)
    return tensor


@pytest.mark.parametrize(
    ("one", "keys", "sentence"),
    [
        ({"other": 1.0}, {"column": "energy"}, "expected a label 'mine' for each structure, .* none: it has other"),
        ({"mine": [1.0, 2.0]}, {"column": "energy"}, r"expected 1 numbers of a Cartesian tensor .* has 2"),
        ({"mine": [1.0] * 2}, {"column": "m", "irreps": "1o"}, "expected 3 or 27 numbers .* has 2"),
        ({"mine": [1.0] * 6}, {"column": "polarizability"}, r"expected 9 numbers .* frame 7 has 6"),
        ({"mine": 1.0}, {"column": "dipole"}, "expected 3 numbers"),
        ({"mine": [1.0] * 8}, {"column": "m", "irreps": "4e", "form": "spherical"}, "expected 9 numbers of 1x4e"),
        ({"mine": "large"}, {"column": "energy"}, "expected numbers in mine, frame 7 has 'large'"),
        ({"mine": np.inf}, {"column": "energy"}, "expected finite numbers in mine, frame 7 has infinite ones or NaN"),
        ({"mine": np.nan}, {"column": "energy"}, "frame 7 has none: the value is 'nan'"),
        ({"mine": 1.0}, {"column": "forces"}, "for each atom, frame 7 has none: it has one for each structure"),
    ],
)  # fmt: skip
def test_a_bad_label_is_one_sentence(one, keys, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        values(frame(**one), **keys)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stated", ["nan", "inf", "0.5", '"1 1"', "T", "minus", '"_JSON true"'])
def test_a_charge_is_a_whole_number(tmp_path, stated):
    (tmp_path / "made.xyz").write_text(f"1\ncharge={stated} energy=-1\nH 0 0 0\n")
    with pytest.raises(DataError, match="expected a whole number under charge, frame 0 of"):
        import_frames(mapping(label("energy") | {"name": "energy"}), tmp_path)
    (row,) = import_frames(mapping(label("energy") | {"name": "energy"}, charge=1), tmp_path).table.to_pylist()
    assert row["charge"] == 1


def test_rows_hold_what_the_file_says(tmp_path):
    save(tmp_path, [[0.1 * i, 0, 0] for i in range(7)], title="w", homo=-0.4, lumo=0.1, charge=-2)
    orbitals = [label("homo", "au", name="homo"), label("lumo", "au", name="lumo")]
    made = mapping(label("dipole", "e bohr", origin="coordinates"), *orbitals, first=1, every=2, count=2)
    rows = import_frames(made, tmp_path).table.to_pylist()
    assert [row["id"] for row in rows] == ["made-000001", "made-000003"]
    assert [json.loads(row["provenance"]) for row in rows][1] == {"source": "made.xyz", "frame": 3}
    assert {row["charge"] for row in rows} == {-2}
    assert rows[0]["gap"] == pytest.approx(0.5)
    assert rows[0]["spin"] is None
    assert rows[0]["positions"] == POINTS.tolist()
    made = mapping(*orbitals, id="title", charge=0, spin=2, count=1)
    (row,) = import_frames(made, tmp_path).table.to_pylist()
    assert (row["id"], row["charge"], row["spin"]) == ("w", 0, 2)
    for source, sentence in (
        ({"first": 7}, "expected 1 frame of .* from number 7 on"),
        ({"id": "nothing"}, "expected the structure's name under nothing"),
        ({"charge": "homo"}, "expected a whole number under homo, frame 0"),
        ({"file": "absent.xyz"}, "absent.xyz cannot be read"),
    ):
        with pytest.raises(DataError, match=sentence):
            import_frames(mapping(*orbitals, **source), tmp_path)


ENERGY = label("energy", "hartree", name="e")


def test_several_files_and_patterns_are_read_as_one(tmp_path):
    (tmp_path / "runs" / "b").mkdir(parents=True)
    for index, name in enumerate(("md_2.xyz", "md_1.xyz", "runs/b/md_3.xyz", "other[1].xyz")):
        (tmp_path / name).write_text(f"1\ne=-{index}\nH 0 0 0\n")

    def read(named: object) -> list[float]:
        return [row["energy"] for row in import_frames(mapping(ENERGY, file=named), tmp_path).table.to_pylist()]

    assert read("md_*.xyz") == [-1, 0], "by their names"
    assert read(["md_2.xyz", "md_1.xyz"]) == [0, -1], "as they are listed"
    assert read(["md_2.xyz", "md_*.xyz"]) == [0, -1], "each once"
    assert read("**/md_*.xyz") == [-1, 0, -2]
    assert read("other[1].xyz") == [-3], "a name with brackets is a name if there is such a file"
    rows = import_frames(mapping(ENERGY, file=["md_1.xyz", "runs/b"]), tmp_path).table.to_pylist()
    assert [json.loads(row["provenance"]) for row in rows] == [
        {"source": "md_1.xyz", "frame": 0},
        {"source": "b", "frame": 1},
    ]
    assert [row["id"] for row in rows] == ["made-000000", "made-000001"]
    with pytest.raises(DataError, match=r"source\.file: expected files that match none_\*\.xyz in .*, found none"):
        read("none_*.xyz")


def test_a_published_split_comes_from_a_key(tmp_path):
    words = ["train", "val", "valid", "validation", "test"]
    (tmp_path / "made.xyz").write_text("".join(f"1\ne=-1 set={word}\nH 0 0 0\n" for word in words))
    rows = import_frames(mapping(ENERGY, split="set"), tmp_path).table.to_pylist()
    assert [row["split"] for row in rows] == ["train", "validation", "validation", "validation", "test"]
    assert {row["split"] for row in import_frames(mapping(ENERGY), tmp_path).table.to_pylist()} == {None}
    (tmp_path / "made.xyz").write_text("1\ne=-1 set=holdout\nH 0 0 0\n")
    with pytest.raises(DataError, match=r"expected train, validation, test under set, frame 0 of .* has 'holdout'"):
        import_frames(mapping(ENERGY, split="set"), tmp_path)


DIPOLE = label("dipole", "debye", name="d", origin="coordinates")


@pytest.mark.parametrize(
    ("labels", "source", "line", "sentence"),
    [
        (
            [DIPOLE],
            {},
            "",
            r"expected source\.charge, .* beside the dipole of frame 0 .* would have 9 electrons, an odd",
        ),
        ([DIPOLE], {"charge": 0}, "", r"expected source\.spin, .* beside the dipole of frame 0 .* has 9 electrons"),
        ([DIPOLE], {}, "charge=0", r"expected source\.spin"),
        ([DIPOLE], {"charge": 0, "spin": 1}, "", None),
        ([DIPOLE], {"charge": "q", "spin": "s"}, "q=0 s=1", None),
        ([DIPOLE], {"charge": -1}, "", None),
        ([DIPOLE], {}, "charge=1", None),
        ([DIPOLE], {}, "total_charge=2", r"expected source\.spin, .* has 7 electrons, an odd"),
        ([DIPOLE], {"charge": 2, "spin": 1}, "", None),
        ([ENERGY], {}, "", None),
    ],
)
def test_charge_and_spin_are_asked_for_where_a_multipole_rests_on_them(tmp_path, labels, source, line, sentence):
    (tmp_path / "made.xyz").write_text(f'2\ne=-75 d="0 0 1" {line}\nO 0 0 0\nH 0 0 0.97\n')
    if sentence is None:
        assert len(import_frames(mapping(*labels, **source), tmp_path).table.to_pylist()) == 1
        return
    with pytest.raises(DataError, match=sentence):
        import_frames(mapping(*labels, **source), tmp_path)
