"""`tesseral.run`: what the command does, for scripts and notebooks."""

import pytest

import tesseral
from tesseral.analysis.report.notes import notes
from tesseral.cluster.campaign import campaign
from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.models.data.reference_file import encode_reference, read_reference
from tesseral.models.data.references import open_reference
from tesseral.study.configuration.trial import State
from tesseral.study.errors import (
    ClusterError,
    DataError,
    LeaseLostError,
    RecordError,
    StoreError,
    StudyFileError,
    TesseralError,
)
from tesseral.study.records.growth import read_growth
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.store import Store


class Counting(Silent):
    """Counts the trials that end."""

    trials = 0

    def ended(self, trial: str, steps: int) -> None:
        self.trials += 1


class Nothing(InlineExecutor):
    """An executor whose workers are all lost."""

    def run(self, work):
        while (job := work.suggest()) is not None:
            work.lost(job.trial, "the machine is gone")


def test_a_study_runs_from_its_path_and_says_nothing(storage, study_file, capfd):
    study_file.write_text(study_file.read_text().replace("epochs = 6", "epochs = 2"))
    ended = tesseral.run(study_file, storage, "inline")
    assert ended.states == {State.COMPLETE: 6}
    assert (ended.left, ended.failures, ended.given_up) == (0, (), ())
    assert capfd.readouterr() == ("", "")
    tables = tesseral.open_study(storage, "small")
    assert set(tables.trials["state"]) == {"complete"}
    shown = Counting()
    again = tesseral.run(tesseral.Study.load(study_file), storage, InlineExecutor(), display=shown)
    assert again.states == {State.COMPLETE: 6}
    assert shown.trials == 0, "nothing is left to run"


def test_what_is_left_is_told(storage, study_file):
    shown = Counting()
    ended = tesseral.run(study_file, storage, Nothing(), display=shown)
    assert (ended.left, ended.given_up) == (6, ("the machine is gone",))
    assert shown.trials == 0


class Superseded(InlineExecutor):
    """An executor whose driver is superseded between the reading of a trial's records and its end."""

    def __init__(self, records: Store) -> None:
        super().__init__()
        self.records = records

    def run(self, work):
        job = work.suggest()
        work.read(job.trial)
        self.records.create("lease/2/0", b"{}")
        work.ended(job.trial)


def test_a_driver_asks_for_its_lease_again_before_it_seals_an_outcome(storage, study_file, monkeypatch):
    sealed: list[str] = []
    monkeypatch.setattr(campaign, "prune", lambda store, trial, lease: bool(sealed.append(trial)))
    with pytest.raises(LeaseLostError):
        tesseral.run(study_file, storage, Superseded(Store(storage).child("small")))
    assert not sealed


def test_why_trials_failed_is_told_once(storage, study_file):
    text = study_file.read_text().replace("batch_size = 4", "batch_size = 4\nlearning_rate = 1e30")
    study_file.write_text(text.replace("epochs = 6", "epochs = 2\nschedule = 'constant'"))
    ended = tesseral.run(study_file, storage, "inline")
    assert ended.states == {State.FAILED: 6}
    assert len(ended.failures) == len(set(ended.failures)) >= 1
    assert ended.left == 0


@pytest.mark.parametrize("trouble", [StoreError("the disk is full"), RecordError("a record is damaged")])
def test_an_error_of_the_last_snapshot_is_raised_and_hides_none_before_it(storage, study_file, monkeypatch, trouble):
    class Failing(Nothing):
        def run(self, work):
            raise ClusterError("the cluster is gone")

    def snapshot(ledger, entries=None):
        raise trouble

    monkeypatch.setattr(Ledger, "snapshot", snapshot)
    with pytest.raises(type(trouble), match=str(trouble)):
        tesseral.run(study_file, storage, Nothing())
    with pytest.raises(ClusterError, match="the cluster is gone"):
        tesseral.run(study_file, storage, Failing())
    assert (storage / "small" / "lease" / "2" / "left").exists()


@pytest.mark.parametrize("job", [True, False])
def test_a_job_that_is_stopped_is_released_before_derived_data_are_written(storage, study_file, monkeypatch, job):
    class Stopped(Nothing):
        def run(self, work):
            raise KeyboardInterrupt

    if job:
        monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(KeyboardInterrupt):
        tesseral.run(study_file, storage, Stopped())
    assert (storage / "small" / "lease" / "1" / "left").exists()
    assert (storage / "small" / "trials.parquet").exists() is not job


def test_mistakes_are_raised_before_anything_is_written(storage, study_file):
    with pytest.raises(TesseralError, match="executor: expected 'ray', 'inline' or an Executor, got 'slurm'"):
        tesseral.run(study_file, storage, "slurm")
    with pytest.raises(StudyFileError, match="cannot be read"):
        tesseral.run(study_file.parent / "other.toml", storage)
    assert not (storage / "small").exists()


def test_a_study_is_judged_by_a_test_set_of_its_own(storage, study_file):
    """Its test set is a few structures of the data that it is trained on, so the error is another one."""
    data = read_reference(storage / "reference" / "water_tiny.parquet")

    def keep(number: int) -> None:
        rows = data.table.slice(0, number).to_pylist()
        (storage / "reference" / "md.parquet").write_bytes(encode_reference(rows, data.basis))
        open_reference.cache_clear()

    keep(2)
    text = study_file.read_text().replace("epochs = 6", "epochs = 1").replace('"l2_error"', '"md.l2_error"')
    study_file.write_text(text + '\n[data.tests]\nmd = "reference/md.parquet"\n')
    assert tesseral.run(study_file, storage, "inline").states == {State.COMPLETE: 6}
    tables = tesseral.open_study(storage, "small")
    assert {"metric.md.l2_error", "metric.test.l2_error", "metric.md.epsilon"} <= {*tables.trials.columns}
    assert (tables.trials["metric.md.l2_error"] != tables.trials["metric.test.l2_error"]).all()
    results = tesseral.read_study(storage, "small", tesseral.analysis.analyse)
    assert results.arms[1].error.error.low is None, "nothing is said of other test structures"
    keep(1)
    with pytest.raises(RecordError, match=r"was started with another test set or published split \(content \w{12}\)"):
        tesseral.run(study_file, storage, "inline")
    (storage / "reference" / "md.parquet").unlink()
    open_reference.cache_clear()
    with pytest.raises(DataError, match=r"data\.tests\.md: expected reference data at reference/md\.parquet"):
        tesseral.run(study_file, storage, "inline")


def test_a_study_follows_a_published_split(storage, study_file):
    """Training sets are the published ones, though blocks have splits of their own."""
    ids = read_reference(storage / "reference" / "water_tiny.parquet").converged.table["id"].to_pylist()
    said = ["train"] * 8 + ["validation"] * 2 + ["test"] * 4
    (storage / "reference" / "split.csv").write_text(
        "id,split\n" + "\n".join(f"{name},{each}" for name, each in zip(ids, said, strict=True))
    )
    text = study_file.read_text().replace("epochs = 6", "epochs = 1")
    study_file.write_text(text.replace("train = 8", 'split = "reference/split.csv"\ntrain = 8'))
    assert tesseral.run(study_file, storage, "inline").states == {State.COMPLETE: 6}
    for entry in Ledger(Store(storage).child("small")).entries():
        assert entry.trial.split is not None
    small = study_file.read_text().replace("train = 8", "train = 9").replace('"small"', '"more"')
    study_file.write_text(small)
    with pytest.raises(DataError, match=r"data\.train: expected at most the 8 converged structures that are published"):
        tesseral.run(study_file, storage, "inline")


def test_a_study_grows_and_keeps_what_it_has(storage, study_file):
    text = study_file.read_text().replace("epochs = 6", "epochs = 1")
    study_file.write_text(text)
    tesseral.run(study_file, storage, "inline")
    store = Store(storage).child("small")
    before = {entry.id for entry in Ledger(store).entries()}
    study_file.write_text(text.replace("blocks = 3", "blocks = 4").replace("[0, 1]", "[0, 1, 2]"))
    shown = Counting()
    ended = tesseral.run(study_file, storage, "inline", display=shown)
    assert ended.states == {State.COMPLETE: 12}
    assert shown.trials == 6, "what was there is not trained again"
    assert before < {entry.id for entry in Ledger(store).entries()}
    (grown,) = read_growth(store)
    assert (grown["complete"], grown["changes"]) == (6, ["arm lmax=2", "4 blocks instead of 3"])
    tables = tesseral.open_study(storage, "small")
    assert (tables.study.blocks, tables.study.arms) == (4, ("lmax=0", "lmax=1", "lmax=2"))
    assert any("at 3 and 4 blocks, has a chance of" in note for note in notes(tables))
    assert tesseral.run(study_file, storage, "inline").states == {State.COMPLETE: 12}
    assert len(read_growth(store)) == 1
    study_file.write_text(text)
    with pytest.raises(
        StudyFileError, match=r"it lacks lmax=2, which `tesseral drop small --arm 'lmax=2'` would drop; re"
    ):
        tesseral.run(study_file, storage, "inline")


def test_further_arms_that_would_change_matched_ones_are_refused(storage, study_file):
    text = study_file.read_text().replace("epochs = 6", "epochs = 1") + '\n[match]\nby = "parameters"\n'
    study_file.write_text(text)
    tesseral.run(study_file, storage, "inline")
    study_file.write_text(text.replace("[0, 1]", "[0, 1, 2]"))
    with pytest.raises(
        StudyFileError, match=r"with the further arms, arm 'lmax=0' would have .* since arms are matched to"
    ):
        tesseral.run(study_file, storage, "inline")


class Bar(Counting):
    """Keeps the length of the bar, what was done of it, and what was said before."""

    total = done = 0

    def __init__(self) -> None:
        super().__init__()
        self.phases: list[str] = []

    def doing(self, what: str) -> None:
        self.phases.append(what)

    def started(self, trials: int, finished: int, steps: int) -> None:
        self.total = steps

    def added(self, trials: int, steps: int) -> None:
        self.total += steps

    def ended(self, trial: str, steps: int) -> None:
        super().ended(trial, steps)
        self.done += steps


def test_copied_trials_take_no_steps(storage, study_file):
    text = study_file.read_text().replace("epochs = 6", "epochs = 2")
    study_file.write_text(text)
    first, second = Bar(), Bar()
    tesseral.run(study_file, storage, "inline", display=first)
    assert first.done == first.total == 6 * 2 * 2
    assert first.phases == ["reading the reference data and sizing the arms", "reading the records"]
    study_file.write_text(text.replace('name = "small"', 'name = "again"'))
    assert tesseral.run(study_file, storage, "inline", display=second).reused == {"small": 6}
    assert (second.trials, second.done, second.total) == (6, 0, 0)
