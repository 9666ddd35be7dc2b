"""Exports by the command line: densities of reference data, and those that a trained trial predicts."""

import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write as write_frames
from ase.io.cube import read_cube_data
from e3nn import o3
from scipy.special import gamma
from typer.testing import CliRunner

from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.campaign.driver import run_study
from tesseral.cluster.commands.app import app
from tesseral.cluster.data.densities import read_molecule
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.planning.plan import prepare
from tesseral.models import load
from tesseral.models.data.data_set import DataSet
from tesseral.models.data.reference_file import read_reference
from tesseral.models.density.density import density_on_points
from tesseral.models.prediction.exported import INPUTS, METADATA
from tesseral.models.reference.structure import Structure
from tesseral.models.training.checkpoint import restore_model
from tesseral.study.constants import BOHR
from tesseral.study.errors import DataError, RecordError, TesseralError
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.saved_density import e3nn_coefficients, load_density
from tests.support.water_study import water_study


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_reference):
    """A storage with a study `export` of one trial of the density, and one of its spherical part and l = 2."""
    storage = tmp_path_factory.mktemp("export")
    (storage / "reference").mkdir()
    (storage / "reference" / tiny_reference.name).write_bytes(tiny_reference.read_bytes())
    path = storage / "export.toml"
    path.write_text(
        water_study(
            "export", "target.orders = [[0, 1, 2, 3, 4], [0, 2]]", blocks=1, hidden="{ lmax = 2, mul = [4, 2, 1] }"
        )
    )
    run_study(prepare(Study.load(path), str(storage)), InlineExecutor(), Silent())
    return storage


def entry(trained, orders: tuple[int, ...]):
    for one in Ledger(Store(trained).child("export")).entries():
        if one.trial.configuration.target.orders == orders:
            return one
    raise AssertionError(orders)


def export(*words: object):
    return CliRunner().invoke(app, ["export", *(str(word) for word in words)])


def refused(done, sentence: str, error: type[TesseralError] = DataError) -> None:
    with pytest.raises(error, match=sentence):
        raise done.exception


def test_a_reference_density_becomes_a_cube_and_an_auxiliary_density(tiny_reference, tmp_path):
    cube, saved = tmp_path / "dimer.cube", tmp_path / "dimer.npz"
    words = ["--structure", "dimer-0001", "--cube", cube, "--spacing", 0.5, "--margin", 2, "--pyscf", saved]
    done = export(tiny_reference, *words)
    assert done.exit_code == 0, done.output
    assert "electron density of dimer-0001 in water_tiny: 20.0000 electrons of 20" in done.output
    assert f"np.load('{saved}')" in done.output
    reference = read_reference(tiny_reference)
    row = next(row for row in reference.table.to_pylist() if row["id"] == "dimer-0001")
    for mine, theirs in zip(e3nn_coefficients(load_density(saved)), row["coefficients"], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-14 * np.abs(theirs).max())
    _, atoms = read_cube_data(str(cube))
    assert atoms.numbers.tolist() == row["atomic_numbers"]
    assert "dimer-0001" in cube.read_text().splitlines()[0]
    tree = json.loads(export(tiny_reference, *words, "--json").stdout)
    assert tree["electrons"] == pytest.approx(20, abs=1e-6)
    assert set(tree) == {"title", "electrons", "expected", "cube", "pyscf"}


def test_a_prediction_is_that_of_the_model_on_its_data(trained, tmp_path):
    one = entry(trained, (0, 1, 2, 3, 4))
    saved = tmp_path / "predicted.npz"
    done = export("export", one.id[:8], "--structure", "dimer-0002", "--pyscf", saved, "--storage", trained)
    assert done.exit_code == 0, done.output
    assert f"electron density of dimer-0002, predicted by trial {one.id[:10]} of export" in done.output
    reference = read_reference(trained / "reference" / "water_tiny.parquet")
    configuration = one.trial.configuration.resolved()
    store = Store(trained).child("export")
    model = restore_model(store.read(one.outcome["checkpoint"]), one.trial, reference)
    data = DataSet(reference, configuration.network, torch.float32, torch.device("cpu"), configuration.target)
    index = reference.table["id"].to_pylist().index("dimer-0002")
    batch = data.structures[index]
    with torch.no_grad():
        expected = model(batch.graph)
    numbers = reference.table["atomic_numbers"][index].as_py()
    for number, mine, row in zip(numbers, e3nn_coefficients(load_density(saved)), expected, strict=True):
        np.testing.assert_allclose(mine, row[reference.basis.columns(number)].numpy(), rtol=1e-6, atol=1e-7)


def test_another_molecule_is_predicted_wherever_it_lies(trained, tmp_path):
    one = entry(trained, (0, 1, 2, 3, 4))
    places = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    write_frames(tmp_path / "w.xyz", [Atoms("OHH", places), Atoms("OHH", places + 3)], format="extxyz")
    exported = []
    for frame in (0, 1):
        saved = tmp_path / f"{frame}.npz"
        done = export(
            "export", one.id, "--xyz", tmp_path / "w.xyz", "--frame", frame, "--pyscf", saved, "--storage", trained
        )
        assert done.exit_code == 0, done.output
        assert f"electron density of frame {frame} of w.xyz, predicted" in done.output
        exported.append(load_density(saved).coefficients)
    np.testing.assert_allclose(exported[0], exported[1], atol=1e-5)
    assert np.abs(exported[0]).max() > 0.1
    ion = export("export", one.id, "--xyz", tmp_path / "w.xyz", "--charge", 1, "--pyscf", saved, "--storage", trained)
    refused(ion, "expected a molecule of a charge that the trial's data holds, 0, got one of 1")


def test_the_difference_is_predicted_less_reference_of_the_orders_predicted(trained, tmp_path):
    one = entry(trained, (0, 2))
    words = ("export", one.id, "--structure", "dimer-0000", "--storage", trained)
    for path, more in (("p", ()), ("d", ("--difference",))):
        assert export(*words, *more, "--pyscf", tmp_path / f"{path}.npz").exit_code == 0
    predicted, difference = (e3nn_coefficients(load_density(tmp_path / f"{path}.npz")) for path in "pd")
    reference = read_reference(trained / "reference" / "water_tiny.parquet")
    row = next(row for row in reference.table.to_pylist() if row["id"] == "dimer-0000")
    for number, mine, less, theirs in zip(
        row["atomic_numbers"], predicted, difference, row["coefficients"], strict=True
    ):
        shells = [shell.l for shell in reference.basis.shells[number] for _ in range(2 * shell.l + 1)]
        kept = np.array(theirs)[np.isin(shells, (0, 2))]
        np.testing.assert_allclose(mine - kept, less, atol=1e-12)


@pytest.mark.parametrize("stated", [0.5, "minus", np.array([1, 1]), True, float("nan")])
def test_a_charge_that_is_no_whole_number_is_refused_unless_another_is_given(tmp_path, stated):
    path = tmp_path / "ion.xyz"
    write_frames(path, [Atoms("OH", np.eye(3)[:2]), Atoms("OH", np.eye(3)[:2], info={"charge": stated})])
    with pytest.raises(DataError, match=r"whole number under charge, frame 1 of .*ion\.xyz has .*; --charge") as error:
        read_molecule(path, 1, None)
    assert "table" not in str(error.value)
    assert "\n" not in str(error.value)
    assert read_molecule(path, 1, -1).charge == -1
    assert read_molecule(path, 0, None).charge == 0


def test_the_charge_of_a_frame_is_taken(tmp_path):
    path = tmp_path / "ion.xyz"
    write_frames(path, Atoms("OH", np.eye(3)[:2], info={"charge": -1.0}))
    assert read_molecule(path, 0, None).charge == -1
    assert read_molecule(path, 0, 2).charge == 2


def test_what_cannot_be_exported_is_one_sentence(trained, tiny_reference, tmp_path):
    one = entry(trained, (0, 2))
    cube = ("--cube", tmp_path / "x.cube")
    here = ("--storage", trained)
    refused(export(tiny_reference, "--structure", "dimer-0000"), "--cube, --pyscf or --weights, got none")
    refused(export(tiny_reference, *cube), "expected the id of a structure in water_tiny, got none; there are: ")
    refused(export(tiny_reference, "--structure", "x", *cube), "got x; there are: .* and 9 others")
    refused(export(tiny_reference, "--difference", *cube), "is reference data")
    refused(export("export", *cube, *here), "got export without a trial")
    refused(export("export", one.id, *cube, *here), "either --structure or --xyz, got neither")
    refused(export("export", one.id, "--structure", "x", *cube, *here), "got x; there are")
    refused(
        export("export", "zz", "--structure", "x", *cube, *here),
        r"got 'zz', which begins 0 ids; there are: .* \(orders=",
        RecordError,
    )
    refused(export("export", "", "--structure", "x", *cube, *here), "expected the id", RecordError)
    write_frames(tmp_path / "n.xyz", [Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])], format="extxyz")
    refused(
        export("export", one.id, "--xyz", tmp_path / "n.xyz", *cube, *here),
        "the elements that the trial was trained on, H, O, got N",
    )
    refused(export("export", one.id, "--xyz", tmp_path / "n.xyz", "--frame", 1, *cube, *here), "expected frame 1")
    assert not (tmp_path / "x.cube").exists()
    weights = trained / "export" / one.outcome["checkpoint"]
    content = weights.read_bytes()
    weights.unlink()
    try:
        refused(export("export", one.id, "--structure", "dimer-0000", *cube, *here), "the weights of", RecordError)
    finally:
        weights.write_bytes(content)


def test_cubes_of_a_file_say_how_many_electrons_they_hold(trained, tmp_path):
    one = entry(trained, (0, 1, 2, 3, 4))
    places = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    write_frames(tmp_path / "w.xyz", [Atoms("OHH", places), Atoms("OHH", 1.05 * places)], format="extxyz")
    words = ["predict", "export", one.id[:8], tmp_path / "w.xyz", "--storage", trained]

    def predict(*more: object):
        return CliRunner().invoke(app, [str(word) for word in (*words, *more)])

    cubes = tmp_path / "new" / "cubes"
    done = predict("--cube", cubes, "--spacing", 0.2, "--margin", 2, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["cubes"]
    model = load(trained, "export", one.id)
    for each, factor in zip(told, (1, 1.05), strict=True):
        (predicted,) = model.predict([Structure("w", (8, 1, 1), factor * places)])
        rows = zip((8, 1, 1), predicted["coefficients"], strict=True)
        parts = [row[model.basis.columns(number)] for number, row in rows]
        assert each["electrons"] == pytest.approx(model.basis.electrons((8, 1, 1), parts), rel=1e-12)
        values, atoms = read_cube_data(each["file"])
        assert each["expected"] == 10
        assert each["points"] == list(values.shape)
        volume = (0.2 / BOHR) ** 3
        assert each["on_points"] == pytest.approx(values.sum() * volume, rel=1e-4)
        assert atoms.numbers.tolist() == [8, 1, 1]
    title = (cubes / "w-000001.cube").read_text().splitlines()[0]
    assert title == f"electron density of frame 1 of w.xyz, predicted by trial {one.id[:10]} of export"
    worst = max(told, key=lambda each: abs(each["electrons"] - 10))
    coarse = predict("--cube", cubes, "--spacing", 0.5)
    assert f"Electrons of the worst density: {worst['electrons']:.4f} of 10, " in coarse.output
    assert "2 of 2 cubes: The points miss some electrons: reduce --spacing" in coarse.output
    (tmp_path / "file").touch()
    refused(predict("--cube", tmp_path / "file"), "expected a folder for --cube, .*file cannot be made: File exists")


def test_a_density_program_says_what_its_coefficients_mean(trained, tmp_path):
    """The number of electrons and a value of the density, from the file alone."""
    one = entry(trained, (0, 1, 2, 3, 4))
    done = export("export", one.id, "--weights", tmp_path / "m.pt2", "--storage", trained)
    assert done.exit_code == 0, done.output
    found = {METADATA: ""}
    program = torch.export.load(tmp_path / "m.pt2", extra_files=found).module()
    told = json.loads(found[METADATA])
    model = load(trained, "export", one.id)
    places = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    graph = model.graph([Structure("w", (8, 1, 1), places)])
    graph = graph._replace(shift=graph.positions.new_zeros(len(graph.source), 3))
    rows = program(*[getattr(graph, name) for name in INPUTS]).detach().double().numpy()
    electrons, density, point = 0.0, 0.0, np.array([0.5, -0.3, 0.4])  # bohr
    for symbol, row, place in zip("OHH", rows, places / BOHR, strict=True):
        coefficients = iter(row[told["columns"][symbol]])
        for shell in told["shells"][symbol]:
            order, a, d = shell["l"], np.array(shell["exponents"]), np.array(shell["coefficients"])
            own = np.array([next(coefficients) for _ in range(2 * order + 1)])
            norms = np.sqrt(2 * (2 * a) ** (order + 1.5) / gamma(order + 1.5))
            electrons += own[0] * (d * norms * (np.pi / a) ** 1.5).sum() / np.sqrt(4 * np.pi) if order == 0 else 0.0
            r = torch.from_numpy(point - place)
            harmonics = o3.spherical_harmonics(order, r, normalize=True, normalization="integral").numpy()
            distance = float(r.norm())
            density += (d * norms * distance**order * np.exp(-a * distance**2)).sum() * (harmonics @ own)
        assert not list(coefficients)
    (predicted,) = model.predict([Structure("w", (8, 1, 1), places)])
    paired = zip((8, 1, 1), predicted["coefficients"], strict=True)
    parts = [torch.from_numpy(row[model.basis.columns(number)]) for number, row in paired]
    assert electrons == pytest.approx(model.basis.electrons((8, 1, 1), [part.tolist() for part in parts]), rel=1e-6)
    points = torch.from_numpy(point * BOHR)[None]
    expected = density_on_points(model.basis, (8, 1, 1), torch.from_numpy(places), parts, points)
    assert density == pytest.approx(float(expected), rel=1e-5)
