"""Large data are mapped: equal in every bit to what is computed, made once a machine, bounded, made again if torn."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tesseral.models.data import data_set
from tesseral.models.data.data_set import DataSet
from tesseral.models.data.packed import Packed, open_packed
from tesseral.models.training import training
from tesseral.models.training.training import train
from tesseral.study.configuration.configuration import Data
from tesseral.study.configuration.training import Training
from tesseral.study.configuration.trial import Traces
from tests.support.synthetic_density import small_configuration, synthetic_reference, synthetic_trial
from tests.support.synthetic_properties import property_configuration, property_reference

CPU = torch.device("cpu")
CASES = {
    "density": (synthetic_reference(9), small_configuration()),
    "coulomb": (synthetic_reference(9), small_configuration(loss="coulomb")),
    "dipole": (property_reference(9), property_configuration("dipole")),
    "forces": (property_reference(9), property_configuration("forces")),
}


def made(case, dtype=torch.float32) -> DataSet:
    reference, asked = CASES[case]
    coulomb = asked.loss.name == "coulomb"
    return DataSet(reference, asked.network, dtype, CPU, asked.target, coulomb=coulomb)


@pytest.fixture
def mapped(monkeypatch) -> None:
    """Every data set is a large one."""
    monkeypatch.setattr(data_set, "LARGE", 0)


def tensors(batch) -> dict[str, torch.Tensor]:
    own = {name: part if isinstance(part, tuple) else (part,) for name, part in vars(batch).items() if name != "graph"}
    several = {f"{name} {number}": part for name, of in own.items() for number, part in enumerate(of)}
    return batch.graph._asdict() | {name: part for name, part in several.items() if part is not None}


def same(one, other) -> bool:
    ours, theirs = tensors(one), tensors(other)
    return (
        type(one) is type(other)
        and all(part.dtype == theirs[name].dtype and torch.equal(part, theirs.pop(name)) for name, part in ours.items())
        and not theirs
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_a_mapped_structure_is_the_computed_one_in_every_bit(case, dtype, monkeypatch):
    computed = made(case, dtype)
    monkeypatch.setattr(data_set, "LARGE", 0)
    found = made(case, dtype)
    assert isinstance(found.structures, Packed)
    assert len(found) == len(computed) == 9
    assert all(map(same, found.structures, computed.structures))
    assert same(found.batch([4, 0, 7]), computed.batch([4, 0, 7]))
    assert found.neighbors([1, 2, 8]) == computed.neighbors([1, 2, 8])
    assert all(part.data_ptr() % 64 == 0 for batch in found.structures for part in tensors(batch).values())


class Recorder:
    def __init__(self):
        self.rows = []

    def curves(self, rows):
        self.rows += rows

    traces = curves

    def boundary(self, step, steps, state, metrics):
        self.rows.append((step, metrics))


@pytest.mark.parametrize("case", CASES)
def test_a_trial_on_mapped_data_has_the_same_records(case, monkeypatch):
    reference, asked = CASES[case]
    splits, settings = Data(reference="none", train=4, validation=2, test=3), Training(epochs=2, batch_size=3)
    trial = synthetic_trial(reference, replace(asked, data=splits, training=settings).resolved())
    rows = []
    for large in (2000, 0):
        data_set._kept.cache_clear()
        monkeypatch.setattr(data_set, "LARGE", large)
        monkeypatch.setattr(training, "LARGE", large)
        recorder = Recorder()
        train(trial, reference, recorder, device="cpu", traces=Traces(probe=2))
        rows.append(recorder.rows)
    data_set._kept.cache_clear()
    assert rows[0] == rows[1]


def build(folder: Path, log: Path) -> None:
    """Open a data set, and say so if it has to be made."""

    def batches():
        with log.open("a") as file:
            file.write("made\n")
        return made("dipole").structures

    opened = open_packed(folder, "waters", batches, CPU)
    assert all(map(same, opened, made("dipole").structures))


def test_two_processes_that_begin_at_once_make_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=build, args=(tmp_path / "node", tmp_path / "log")) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "log").read_text() == "made\n"


def test_what_a_killed_process_left_is_made_again(tmp_path):
    left = tmp_path / ".waters"
    left.mkdir()
    (left / "values").write_bytes(b"half")
    build(tmp_path, tmp_path / "log")
    assert not left.exists()


@pytest.mark.parametrize("torn", ["values", "graph.harmonics", "places.npy", "index.json"])
def test_a_torn_file_is_made_again(tmp_path, torn):
    build(tmp_path, tmp_path / "log")
    path = tmp_path / "waters" / torn
    path.write_bytes(path.read_bytes()[:-8])
    build(tmp_path, tmp_path / "log")
    assert (tmp_path / "log").read_text() == "made\n" * 2


def test_the_last_opened_are_kept_and_what_was_left_is_removed(tmp_path):
    (tmp_path / ".killed").mkdir()
    structures = made("dipole").structures
    opened = [open_packed(tmp_path, name, lambda: structures, CPU, kept=2) for name in ("a", "b", "a", "c")]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["a", "c"]
    assert same(opened[1][8], structures[8])  # removed, and still there for who has it open


def test_a_disk_without_room_leaves_a_data_set_in_memory(mapped, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(data_set, "open_packed", full)
    with pytest.warns(UserWarning, match="kept in the memory of each: .*No space left on device"):
        assert isinstance(made("dipole").structures, list)
