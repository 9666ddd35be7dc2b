"""The importer on small pickles of the public file's format: right, wrong, torn and malicious ones."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from pyscf import gto, scf

from tesseral.models.density.auxiliary_basis import Shell
from tesseral.models.reference.calculation.auxiliary_shells import auxiliary_shells
from tesseral.models.reference.calculation.calculation import calculate, reference_basis
from tesseral.models.reference.calculation.density_fit import auxiliary_molecule, fit_density, function_charges
from tesseral.models.reference.exchange import tensor_pickle
from tesseral.models.reference.exchange.tensor_pickle import load_tensors
from tesseral.models.reference.exchange.trimer_pickle import import_trimers
from tesseral.models.reference.geometries.water_clusters import WATER, water_cluster
from tesseral.models.reference.structure import Structure
from tesseral.study.errors import DataError
from tesseral.study.recipe.method import Method

METHOD = Method(method="HF", basis="STO-3G")
COUNTS = [(12, 0), (5, 1), (4, 2), (2, 3), (1, 4)]
WATERS = [Structure(f"monomer-{index:04d}", WATER, water_cluster(1, index, seed=4)) for index in range(2)]
SHELLS = {number: auxiliary_shells(number, "def2-universal-jfit", True) for number in (1, 8)}


def norm(shell: Shell) -> float:
    """Signed, as contractions left it in the public file: here every third exponent's is negative."""
    return -shell.norm if round(shell.exponents[0] * 1000) % 3 == 0 else shell.norm


def frame(structure: Structure) -> dict:
    """One frame as the public file holds it, from PySCF's own order: p shells are x, y, z there, m = −1, 0, 1 here."""
    symbols = ["?H??????O"[z] for z in structure.atomic_numbers]
    atoms = list(zip(symbols, structure.positions, strict=True))
    molecule = gto.M(atom=atoms, basis="STO-3G", verbose=0)
    density = scf.RHF(molecule).run(conv_tol=1e-10, conv_tol_grad=1e-7).make_rdm1()
    auxiliary = auxiliary_molecule(SHELLS, structure.atomic_numbers, structure.positions)
    charges = function_charges(SHELLS, structure.atomic_numbers)
    coefficients = fit_density(molecule, density, auxiliary, charges, "coulomb")
    table = {key: np.zeros((len(atoms), 70)) for key in ("coefficients", "exponents", "norms")}
    first = dict(zip(range(5), np.cumsum([0, 12, 15, 20, 14]).tolist(), strict=True))
    done = 0
    for atom, number in enumerate(structure.atomic_numbers):
        place = dict(first)
        for shell in SHELLS[number]:
            width = 2 * shell.l + 1
            values = coefficients[done : done + width]
            columns = slice(place[shell.l], place[shell.l] + width)
            table["coefficients"][atom, columns] = np.sign(norm(shell)) * (values[[1, 2, 0]] if width == 3 else values)
            table["exponents"][atom, columns] = shell.exponents[0]
            table["norms"][atom, columns] = norm(shell)
            place[shell.l] += width
            done += width
    return {
        "type": torch.tensor(structure.atomic_numbers, dtype=torch.float32),
        "pos": torch.tensor(structure.positions, dtype=torch.float32),
        "onehot": torch.zeros(3, 2),
        **{key: torch.tensor(value, dtype=torch.float32) for key, value in table.items()},
        "rs_max": COUNTS,
        "energy": torch.tensor(-75.0),
        "forces": torch.ones(3, 3),
    }


@pytest.fixture(scope="module")
def frames() -> list[dict]:
    return [frame(structure) for structure in WATERS]


@pytest.fixture
def isolated(tmp_path) -> dict[str, Path]:
    paths = {}
    for symbol, number in (("H", 1), ("O", 8)):
        spherical = [shell for shell in SHELLS[number] if shell.l == 0]
        lines = ["Atom number: 0", f"number of functions: {len(spherical)}"]
        lines += [f"0 {0.1 * np.sign(norm(s))} {s.exponents[0]} {norm(s)}" for s in spherical]
        paths[symbol] = tmp_path / f"isolated_{symbol}.out"
        paths[symbol].write_text("\n".join(lines) + "\n")
    return paths


def dumped(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "trimers.pkl"
    path.write_bytes(pickle.dumps(content, protocol=3))
    return path


def changed(frames: list[dict], **values: object) -> list[dict]:
    return [frames[0], frames[1] | values]


def test_imported_coefficients_are_those_of_our_own_calculation(frames, isolated, tmp_path):
    rows, basis = import_trimers(dumped(tmp_path, frames), isolated)
    assert [row["id"] for row in rows] == ["trimer-0000", "trimer-0001"]
    for row, structure in zip(rows, WATERS, strict=True):
        own = calculate(structure, METHOD)
        for mine, theirs in zip(row["coefficients"], own["coefficients"], strict=True):
            np.testing.assert_allclose(mine, theirs, atol=2e-6)  # single precision
        np.testing.assert_allclose(row["overlap"], own["overlap"], atol=1e-6)
        np.testing.assert_allclose(row["centre"], own["centre"], atol=1e-6)
        assert row["electrons"] == pytest.approx(10, abs=1e-5)
        assert row["forces"] == [[-1.0] * 3] * 3  # the file's forces are the gradient
        assert row["energy"] == -75.0
    assert basis.layout == reference_basis(WATERS, METHOD).layout
    assert {shell.isolated for shells in basis.shells.values() for shell in shells if shell.l == 0} == {0.1}


def test_shells_in_another_order_give_the_same(frames, isolated, tmp_path):
    flipped = []
    for one in frames:
        ends = np.cumsum([0] + [count * (2 * order + 1) for count, order in COUNTS])
        columns = np.concatenate(
            [np.arange(ends[i], ends[i + 1]).reshape(count, -1)[::-1].ravel() for i, (count, _) in enumerate(COUNTS)]
        )
        flipped.append(one | {key: one[key][:, columns] for key in ("coefficients", "exponents", "norms")})
    rows, basis = import_trimers(dumped(tmp_path, frames), isolated)
    again, same = import_trimers(dumped(tmp_path, flipped), isolated)
    assert basis == same
    assert [row["coefficients"] for row in rows] == [row["coefficients"] for row in again]


def test_a_wrong_charge_is_refused(frames, isolated, tmp_path):
    wrong = changed(frames, coefficients=frames[1]["coefficients"] * 1.01)
    with pytest.raises(DataError, match=r"expected 10 electrons in frame 1 .* its density holds 10\.1000"):
        import_trimers(dumped(tmp_path, wrong), isolated)


@pytest.mark.parametrize("order", [[1, 2, 0], [2, 0, 1], [0, 2, 1]])
def test_a_wrong_order_of_m_is_refused(order, frames, isolated, tmp_path):
    coefficients = frames[1]["coefficients"].clone()
    coefficients[:, 12:27] = coefficients[:, 12:27].reshape(3, 5, 3)[:, :, order].reshape(3, 15)
    with pytest.raises(DataError, match=r"expected oxygen's p shell along the H-O-H bisector, in frame 1"):
        import_trimers(dumped(tmp_path, changed(frames, coefficients=coefficients)), isolated)


@pytest.mark.parametrize("key", ["exponents", "norms"])
def test_other_shells_in_a_later_frame_are_refused(key, frames, isolated, tmp_path):
    with pytest.raises(DataError, match=r"expected every O to have the same shells, .* atom 0 of frame 1"):
        import_trimers(dumped(tmp_path, changed(frames, **{key: frames[1][key] * 1.1})), isolated)


def test_another_format_is_refused(frames, isolated, tmp_path):
    lacking = [{key: value for key, value in frames[0].items() if key not in ("norms", "pos")}]
    for content, sentence in [
        (lacking, "frame 0 of .* lacks pos, norms"),
        ({"a": 1}, "expected a pickled list of frames, .* holds dict"),
        ([], "expected a pickled list of frames"),
        ([3], "frame 0 of .* lacks type"),
        (changed(frames, pos=torch.zeros(2, 3)), r"expected pos of shape \(3, 3\), got \(2, 3\) in frame 1"),
    ]:
        with pytest.raises(DataError, match=sentence):
            import_trimers(dumped(tmp_path, content), isolated)


def test_isolated_atoms_must_fit(frames, isolated, tmp_path):
    path = dumped(tmp_path, frames)
    with pytest.raises(DataError, match=r"expected an isolated atom for each of H, O, .* got H"):
        import_trimers(path, {"H": isolated["H"]})
    with pytest.raises(DataError, match="expected the 5 s shells of the pickle"):
        import_trimers(path, {"H": isolated["O"], "O": isolated["O"]})
    with pytest.raises(DataError, match="cannot be read"):
        import_trimers(path, {"H": tmp_path / "absent.out", "O": isolated["O"]})


class Malicious:
    """Unpickling this runs a command that leaves a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.trace}",)


class HiddenInStorage(Malicious):
    """The same behind a name that is admitted: torch's own loader would run the bytes."""

    def __reduce__(self) -> tuple:
        return torch.storage._load_from_bytes, (pickle.dumps(Malicious(self.trace), protocol=2),)


@pytest.mark.parametrize("kind", [Malicious, HiddenInStorage])
def test_code_in_a_pickle_is_refused_by_name_and_not_run(kind, tmp_path):
    trace = tmp_path / "trace"
    path = dumped(tmp_path, [{"type": torch.ones(3), "pos": kind(trace)}])
    with pytest.raises(DataError, match=rf"names {os.system.__module__}\.system; it was refused and not run"):
        load_tensors(path)
    assert not trace.exists()


def test_a_name_hidden_in_a_storage_from_the_scan_is_refused_too(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_pickle, "_names", lambda content: iter(()))
    trace = tmp_path / "trace"
    with pytest.raises(DataError, match="names something that is no tensor's storage; it was refused"):
        load_tensors(dumped(tmp_path, HiddenInStorage(trace)))
    assert not trace.exists()


def test_the_attack_is_a_real_one(tmp_path):
    trace = tmp_path / "trace"
    pickle.loads(pickle.dumps(Malicious(trace)))
    assert trace.exists()


@pytest.mark.parametrize("name", ["builtins.eval", "torch.load", "torch._utils._rebuild_tensor", "numpy.frombuffer"])
def test_every_other_name_is_refused(name, tmp_path):
    module, _, function = name.rpartition(".")
    path = tmp_path / "named.pkl"
    path.write_bytes(f"c{module}\n{function}\n.".encode())
    with pytest.raises(DataError, match=rf"names {module}\.{function}; it was refused"):
        load_tensors(path)


def test_torn_and_missing_pickles_are_refused(frames, tmp_path):
    path = dumped(tmp_path, frames)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="expected a whole pickle of tensors"):
            load_tensors(path)
    with pytest.raises(DataError, match="cannot read it: No such file"):
        load_tensors(tmp_path / "absent.pkl")


def test_tensors_come_back_as_they_were(tmp_path):
    content = {
        "strided": torch.arange(12.0).reshape(3, 4).T[1:],
        "integers": torch.tensor([1, -2]),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "plain": [1, 2.5, "text", (None, True)],
    }
    tensors = load_tensors(dumped(tmp_path, content))
    assert tensors["plain"] == content["plain"]
    for key in ("strided", "integers", "empty", "scalar"):
        assert tensors[key].dtype == content[key].dtype
        assert torch.equal(tensors[key], content[key])


def test_a_tensor_that_would_leave_its_storage_is_refused(tmp_path):
    class Outside:
        def __reduce__(self) -> tuple:
            rebuild, (storage, *_) = torch.zeros(4).__reduce_ex__(2)
            return rebuild, (storage, 2, (4,), (1,), False, {})

    with pytest.raises(DataError, match="cannot be read"):
        load_tensors(dumped(tmp_path, Outside()))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"type": None}, "expected a tensor of finite numbers as type, frame 1 of .* has NoneType"),
        (
            {"type": torch.tensor([8.0, 1.0, -1.0])},
            "from 1 to 118 as type, frame 1 of .* has -1",
        ),
        (
            {"type": torch.tensor([8.0, 1.0, 0.5])},
            "from 1 to 118 as type, frame 1 of .* has 0.5",
        ),
        ({"type": torch.tensor(8.0)}, "expected the atomic numbers as type, frame 1"),
        ({"pos": [[0, 0, 0]]}, "expected a tensor of finite numbers as pos, frame 1 of .* has list"),
        ({"energy": "low"}, "expected a tensor of finite numbers as energy, frame 1 of .* has str"),
        ({"forces": torch.full((3, 3), torch.nan)}, "expected a tensor of finite numbers as forces"),
        ({"coefficients": torch.zeros(3, 2, dtype=torch.complex64)}, "finite numbers as coefficients"),
        ({"rs_max": 3}, "expected rs_max as a list of .* frame 1 of .* has 3"),
        ({"rs_max": [(1, 10**9)]}, "expected rs_max as a list of"),
        ({"rs_max": [(10**12, 0)]}, "expected rs_max as a list of"),
        ({"rs_max": [("1", 0)]}, "expected rs_max as a list of"),
    ],
)
def test_foreign_contents_are_a_sentence(changes, sentence, frames, isolated, tmp_path):
    with pytest.raises(DataError, match=sentence) as caught:
        import_trimers(dumped(tmp_path, changed(frames, **changes)), isolated)
    assert "\n" not in str(caught.value)


def test_a_tensor_has_no_more_elements_than_its_storage(tmp_path):
    """With a stride of 0, a few bytes are as many numbers as anyone asks for."""
    path = dumped(tmp_path, torch.zeros(1).as_strided((40_000, 20_000), (0, 0)))
    with pytest.raises(DataError, match="a tensor has 800,000,000 elements, its storage 1"):
        load_tensors(path)
