"""`tesseral.run`: what the command does, for scripts and notebooks."""

import pytest

import tesseral
from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.study.configuration.trial import State
from tesseral.study.errors import ClusterError, RecordError, StoreError, StudyFileError, TesseralError
from tesseral.study.records.ledger import Ledger


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

    def snapshot(ledger):
        raise trouble

    monkeypatch.setattr(Ledger, "snapshot", snapshot)
    with pytest.raises(type(trouble), match=str(trouble)):
        tesseral.run(study_file, storage, Nothing())
    with pytest.raises(ClusterError, match="the cluster is gone"):
        tesseral.run(study_file, storage, Failing())
    assert (storage / "small" / "lease" / "2" / "left").exists()


def test_mistakes_are_raised_before_anything_is_written(storage, study_file):
    with pytest.raises(TesseralError, match="executor: expected 'ray', 'inline' or an Executor, got 'slurm'"):
        tesseral.run(study_file, storage, "slurm")
    with pytest.raises(StudyFileError, match="cannot be read"):
        tesseral.run(study_file.parent / "other.toml", storage)
    assert not (storage / "small").exists()
