"""What goes wrong inside a trial becomes its outcome; what goes wrong around it leaves it for the next start."""

import json
import os
import socket
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.campaign.driver import run_study
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.execution.worker import Job, NeedsRoomError, run_trial
from tesseral.cluster.planning.plan import prepare
from tesseral.models.data import references
from tesseral.models.data.reference_file import encode_reference, read_reference
from tesseral.models.training import device, training
from tesseral.study.configuration.trial import State
from tesseral.study.errors import DataError, DeviceLostError, LeaseLostError, RecordError, StoreError, TesseralError
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.store import Store
from tesseral.study.study import Study


class Nothing:
    """An executor that runs nothing, as if every worker were lost."""

    def run(self, work):
        self.jobs = []
        while (job := work.suggest()) is not None:
            self.jobs.append(job)


def load(study_file, old="", new="") -> Study:
    text = study_file.read_text()
    assert old in text
    study_file.write_text(text.replace(old, new, 1))
    return Study.load(study_file)


def test_a_diverged_trial_is_failed_with_its_reason_and_last_values(storage, study_file):
    study = load(study_file, "batch_size = 4", "batch_size = 4\nlearning_rate = 1e30\nschedule = 'constant'")
    states = run_study(prepare(study, str(storage)), InlineExecutor(), Silent()).states
    assert states == {State.FAILED: 6}
    for entry in Ledger(Store(storage / "small")).entries():
        assert "became" in entry.outcome["reason"]
        assert all(value == value for value in entry.outcome["metrics"].values())
        assert "traceback" not in entry.outcome


def test_an_exception_in_one_trial_stops_no_other(storage, study_file, monkeypatch):
    real, calls = training.train, []

    def fragile(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("the network does not like this batch\nand says so at length")
        return real(*arguments, **options)

    monkeypatch.setattr(training, "train", fragile)
    states = run_study(prepare(load(study_file), str(storage)), InlineExecutor(), Silent()).states
    assert states == {State.COMPLETE: 5, State.FAILED: 1}
    (failed,) = (e for e in Ledger(Store(storage / "small")).entries() if e.state == State.FAILED)
    assert failed.outcome["reason"] == "RuntimeError: the network does not like this batch"
    assert "fragile" in failed.outcome["traceback"]


def test_trials_whose_workers_were_lost_are_left_for_the_next_start(storage, study_file):
    plan = prepare(load(study_file), str(storage))
    assert run_study(plan, Nothing(), Silent()).states == {State.PLANNED: 6}
    assert run_study(plan, InlineExecutor(), Silent()).states == {State.COMPLETE: 6}
    nothing = Nothing()
    run_study(plan, nothing, Silent())
    assert nothing.jobs == []


def test_a_worker_of_a_superseded_driver_seals_nothing(storage, study_file):
    plan = prepare(load(study_file), str(storage))
    nothing = Nothing()
    run_study(plan, nothing, Silent())
    job: Job = nothing.jobs[0]
    store = Store(storage / "small")
    store.create(f"lease/{job.lease + 1}/0", b"{}")
    assert run_trial(job) is None
    assert store.read(f"trials/{job.trial}/outcome.json") is None


def test_a_driver_that_loses_its_lease_stops(storage, study_file):
    class Usurper(Silent):
        def ended(self, trial, steps):
            Store(storage / "small").create("lease/2/0", b"{}")

    with pytest.raises(LeaseLostError):
        run_study(prepare(load(study_file), str(storage)), InlineExecutor(), Usurper(), lease_length=0.12)
    assert len(list(storage.glob("small/trials/*/outcome.json"))) < 6


def test_other_data_under_the_same_name_is_refused(storage, study_file, tiny_reference):
    plan = prepare(load(study_file), str(storage))
    nothing = Nothing()
    run_study(plan, nothing, Silent())
    reference = read_reference(tiny_reference)
    rows = reference.table.to_pylist()
    other = encode_reference([rows[1], rows[0], *rows[2:]], reference.basis)
    (storage / "reference" / tiny_reference.name).write_bytes(other)
    references.open_reference.cache_clear()
    references.open_on_node.cache_clear()
    before = sorted(storage.rglob("small/trials/*"))
    with pytest.raises(RecordError, match="other data"):
        run_study(prepare(Study.load(study_file), str(storage)), InlineExecutor(), Silent())
    assert sorted(storage.rglob("small/trials/*")) == before


def test_what_a_machine_lacks_costs_a_trial_nothing(storage, study_file):
    plan = prepare(load(study_file), str(storage))
    nothing = Nothing()
    run_study(plan, nothing, Silent())
    with pytest.raises(TesseralError, match="cuda:99"):
        run_trial(replace(nothing.jobs[0], device="cuda:99"))
    with pytest.raises(RecordError, match="storage that all of them share"):
        run_trial(replace(nothing.jobs[0], trial="0" * 64))
    assert not list(storage.glob("small/trials/*/attempts"))


def test_other_data_or_another_version_on_one_machine_costs_a_trial_nothing(
    storage, study_file, tiny_reference, monkeypatch
):
    nothing = Nothing()
    run_study(prepare(load(study_file), str(storage)), nothing, Silent())
    with monkeypatch.context() as older:
        older.setattr("tesseral.models.training.trial_check.NUMERICS", 0)
        with pytest.raises(RecordError, match="numerics"):
            run_trial(nothing.jobs[0])
    reference = read_reference(tiny_reference)
    rows = reference.table.to_pylist()
    path = storage / "reference" / tiny_reference.name
    path.write_bytes(encode_reference([rows[1], rows[0], *rows[2:]], reference.basis))
    references.open_reference.cache_clear()
    references.open_on_node.cache_clear()
    with pytest.raises(DataError, match="expected the trial's data"):
        run_trial(nothing.jobs[0])
    assert not list(storage.glob("small/trials/*/attempts"))


def test_a_damaged_checkpoint_is_named_and_the_trial_goes_on_from_the_one_before(storage, study_file):
    def kill(step: int, steps: int) -> None:
        if step > 2:
            raise KeyboardInterrupt

    nothing = Nothing()
    run_study(prepare(load(study_file), str(storage)), nothing, Silent())
    job = replace(nothing.jobs[0], checkpoint_every=0.0)
    with pytest.raises(KeyboardInterrupt):
        run_trial(job, kill)
    *_, checkpoint = sorted(storage.glob(f"small/trials/{job.trial}/checkpoint/*"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.warns(
        UserWarning, match=f"{checkpoint.name} is damaged: its hash does not match; an earlier one is used"
    ):
        assert run_trial(job) is State.COMPLETE


def test_a_checkpoint_of_another_network_is_passed_over(storage, study_file):
    """As one of an earlier version, whose name states no hash, may be."""

    def kill(step: int, steps: int) -> None:
        if step > 2:
            raise KeyboardInterrupt

    nothing = Nothing()
    run_study(prepare(load(study_file), str(storage)), nothing, Silent())
    jobs = [replace(job, checkpoint_every=0.0) for job in nothing.jobs]
    other = next(job for job in jobs if job.steps == jobs[0].steps and job != jobs[0])
    for job in (jobs[0], other):
        with pytest.raises(KeyboardInterrupt):
            run_trial(job, kill)
    *_, mine = sorted(storage.glob(f"small/trials/{jobs[0].trial}/checkpoint/*"))
    *_, theirs = sorted(storage.glob(f"small/trials/{other.trial}/checkpoint/*"))
    mine.unlink()
    mine.with_name(mine.name.rpartition("-")[0]).write_bytes(theirs.read_bytes())
    with pytest.warns(UserWarning, match="expected a checkpoint of trial .*; the trial goes on from an earlier state"):
        assert run_trial(jobs[0]) is State.COMPLETE


def test_a_process_that_has_lost_its_device_takes_no_trial_with_it(storage, study_file, monkeypatch):
    """After some errors of a kernel CUDA fails for good: the trial that caused it fails, the others go on elsewhere."""
    nothing = Nothing()
    run_study(prepare(load(study_file), str(storage)), nothing, Silent())
    first, second = nothing.jobs[:2]
    with monkeypatch.context() as broken:
        alive = [True]

        def assertion(*_, **__):
            alive.clear()
            raise RuntimeError("CUDA error: device-side assert triggered")

        broken.setattr(device, "usable", lambda _: bool(alive))
        broken.setattr(training, "train", assertion)
        with pytest.raises(DeviceLostError):
            run_trial(first)
        with pytest.raises(DeviceLostError):
            run_trial(second)
    outcomes = {path.parent.name for path in storage.glob("small/trials/*/outcome.json")}
    assert outcomes == {first.trial}
    assert run_trial(second) is State.COMPLETE


def test_a_storage_that_fails_leaves_the_trial_for_the_next_start(storage, study_file, monkeypatch):
    plan = prepare(load(study_file), str(storage))
    create = Store.create

    def full(self, path, data):
        if path.startswith("curves/"):
            raise StoreError("no space left on device")
        return create(self, path, data)

    monkeypatch.setattr(Store, "create", full)
    with pytest.raises(StoreError, match="no space left"):
        run_study(plan, InlineExecutor(), Silent())
    monkeypatch.setattr(Store, "create", create)
    assert not list(storage.glob("small/trials/*/outcome.json"))
    assert run_study(plan, InlineExecutor(), Silent()).states == {State.COMPLETE: 6}


def test_the_trials_table_and_its_snapshot(storage, study_file):
    run_study(prepare(load(study_file), str(storage)), InlineExecutor(), Silent())
    ledger = Ledger(Store(storage / "small"))
    table = ledger.table()
    assert table.column("factor.network.hidden.lmax").type == "int64"
    assert table.column("setting.training.learning_rate").type == "double"
    assert table.column("setting.network.hidden.irreps").to_pylist().count("4x0e+4x0o") == 3
    assert table.column("metric.test.l2_error").null_count == 0
    assert set(table["state"].to_pylist()) == {"complete"}
    assert set(table["attempts"].to_pylist()) == {1}
    versions = json.loads(table["versions"][0].as_py())
    assert {"python", "torch", "e3nn"} <= versions.keys()
    for started, ended in zip(table["started"].to_pylist(), table["ended"].to_pylist(), strict=True):
        assert ended > started
    assert (storage / "small" / "trials.parquet").exists()


def test_a_trial_that_runs_out_of_memory_beside_others_is_left_for_a_run_alone(storage, study_file, monkeypatch):
    real, full = training.train, []

    def hungry(*arguments, **options):
        if not full:
            full.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GB")
        return real(*arguments, **options)

    monkeypatch.setattr(training, "train", hungry)
    nothing = Nothing()
    run_study(prepare(load(study_file), str(storage)), nothing, Silent())
    job = nothing.jobs[0]
    with pytest.raises(NeedsRoomError, match="Tried to allocate 3 GB"):
        run_trial(replace(job, shared=True))
    assert run_trial(replace(job, alone=True)) is State.COMPLETE
    store = Store(storage / "small")
    begins = [json.loads(store.read(f"trials/{job.trial}/attempts/{number}.json")) for number in (1, 2)]
    assert [(begin.get("alone"), begin["parts"]) for begin in begins] == [(None, 1), (True, 1)]


def test_a_share_of_a_gpu_limits_what_torch_allocates(monkeypatch):
    """What CUDA takes beside torch's allocator is left out of the share: five processes of 0.2 fit, with theirs."""
    told = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=80 * 2**30))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, device: told.append(share))
    for share in (0.2, 0.02, 1.0, 0.0, 2.0):
        device.limit_memory(torch.device("cuda:0"), share)
    device.limit_memory(torch.device("cpu"), 0.2)
    assert told == [pytest.approx(0.2 - 1 / 80), 0.01, 1.0, 1.0, 1.0]


def test_an_attempt_says_where_it_runs(storage, study_file):
    """Three nodes of one machine share a name; their addresses and ids differ."""
    nothing = Nothing()
    run_study(prepare(load(study_file), str(storage)), nothing, Silent())
    run_trial(replace(nothing.jobs[0], address="10.0.0.2", node="f00d"))
    (attempt,) = storage.glob("small/trials/*/attempts/1.json")
    record = json.loads(attempt.read_bytes())
    assert (record["address"], record["node"], record["device"]) == ("10.0.0.2", "f00d", "cpu")
    assert record["host"] == socket.gethostname()
    assert record["pid"] == os.getpid()
