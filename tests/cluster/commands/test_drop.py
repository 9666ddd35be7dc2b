"""`tesseral drop`: asked for, confirmed, and for good."""

import json
from io import StringIO

import pytest

import tesseral as package
from tesseral.analysis.report.notes import notes
from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.planning.forecast import notes as notes_of_plan
from tesseral.cluster.planning.plan import plan
from tesseral.models.data.reference_file import encode_reference, read_reference
from tesseral.models.data.references import open_reference
from tesseral.study.configuration.trial import Cause, State
from tesseral.study.errors import RecordError
from tesseral.study.records.trained import find_trials
from tests.support.command_line import assert_refused, tesseral
from tests.support.water_study import water_study


class Counts(Silent):
    """Keeps how many trials there are, and how many of them have ended."""

    trials = finished = 0

    def started(self, trials: int, finished: int, steps: int) -> None:
        self.trials, self.finished = trials, finished

    def added(self, trials: int, steps: int) -> None:
        self.trials += trials

    def ended(self, trial: str, steps: int) -> None:
        self.finished += 1


class Looking(InlineExecutor):
    """Keeps what is known of the trials before the first begins."""

    def run(self, work) -> None:
        self.tally = work.tally()
        super().run(work)


def test_an_arm_is_dropped_after_a_question(storage, study_file, monkeypatch):
    study_file.write_text(
        water_study("small", "network.hidden.lmax = [0, 1, 2]", epochs=1, hidden="{ mul = [4, 2, 2] }")
    )
    package.run(study_file, storage, "inline")
    monkeypatch.setattr("sys.stdin", StringIO("n\n"))
    refused = tesseral("drop", "small", "--arm", "lmax=2", "--storage", storage)
    assert refused.returncode == 2
    assert "Drop arm lmax=2 of small, with 3 complete trials? It cannot be taken back." in refused.stderr
    assert "arm lmax=2 of small was not dropped" in refused.stderr
    assert len(package.open_study(storage, "small").study.arms) == 3
    done = tesseral("drop", "small", "--arm", "lmax=2", "--yes", "--storage", storage, "--json")
    assert json.loads(done.stdout) == {"study": "small", "dropped": [{"arm": "lmax=2", "complete": 3}]}
    tables = package.open_study(storage, "small")
    assert tables.study.arms == ("lmax=0", "lmax=1")
    assert set(tables.trials["arm"]) == {"lmax=0", "lmax=1"}
    shown, executor = Counts(), Looking()
    ended = package.run(study_file, storage, executor, display=shown)
    assert ended.states == {State.COMPLETE: 6}, "the file may still hold the arm"
    assert (shown.trials, shown.finished) == (6, 6)
    assert (executor.tally.trials, executor.tally.ended) == (6, {State.COMPLETE: 6})
    said = "1 arm of the study file was dropped and is left out: lmax=2"
    assert shown.sentences == [said]
    assert said in notes_of_plan(plan(study_file, storage), [])
    assert any(note.startswith("Arm lmax=2 was dropped on") for note in notes(tables))


def test_a_study_goes_on_without_an_arm_that_alone_has_data_of_its_own(storage, study_file):
    data = read_reference(storage / "reference" / "water_tiny.parquet")
    fewer = encode_reference(data.table.slice(1).to_pylist(), data.basis)
    (storage / "reference" / "fewer.parquet").write_bytes(fewer)
    factors = 'data.reference = ["reference/water_tiny.parquet", "reference/fewer.parquet"]'
    text = water_study("small", factors, epochs=1, hidden="{ lmax = 1 }")
    study_file.write_text(text.replace("train = 8", "train = 7"))
    assert package.run(study_file, storage, "inline").states == {State.COMPLETE: 6}
    own = package.open_study(storage, "small").study.arms[1]
    assert tesseral("drop", "small", "--arm", own, "--yes", "--storage", storage).returncode == 0
    (storage / "reference" / "fewer.parquet").unlink()
    open_reference.cache_clear()
    assert package.run(study_file, storage, "inline").states == {State.COMPLETE: 3}


def test_a_further_arm_takes_the_trials_of_a_dropped_one_of_the_same_network(storage, study_file):
    arms = [f"[[arms]]\nnetwork.hidden.lmax = {lmax}\n" for lmax in (0, 1)]
    text = water_study("small", epochs=1).replace("[factors]\nnetwork.hidden.lmax = [0, 1]\n", "")
    study_file.write_text(text + "".join(arms))
    package.run(study_file, storage, "inline")
    assert tesseral("drop", "small", "--arm", "lmax=1", "--yes", "--storage", storage).returncode == 0
    study_file.write_text(text + "".join(arms) + "training.batch_size = 4\n")
    shown = Counts()
    assert package.run(study_file, storage, "inline", display=shown).states == {State.COMPLETE: 6}
    assert (shown.trials, shown.finished) == (6, 6)


def test_failures_of_a_dropped_arm_are_told_no_more(storage, study_file):
    text = water_study("small", "training.learning_rate = [0.01, 1e30]", epochs=2, hidden="{ lmax = 1 }")
    study_file.write_text(text.replace("epochs = 2", 'epochs = 2\nschedule = "constant"'))
    ended = package.run(study_file, storage, "inline")
    assert (ended.states, ended.causes) == ({State.COMPLETE: 3, State.FAILED: 3}, {Cause.TRAINING: 3})
    failing = package.open_study(storage, "small").study.arms[1]
    assert tesseral("drop", "small", "--arm", failing, "--yes", "--storage", storage).returncode == 0
    ended = package.run(study_file, storage, "inline")
    assert (ended.states, ended.causes, ended.failures) == ({State.COMPLETE: 3}, {}, ())


def test_it_says_what_cannot_be_dropped(storage, study_file):
    study_file.write_text(water_study("small", epochs=1))
    package.run(study_file, storage, "inline")
    done = tesseral("drop", "small", "--arm", "lmax=0", "--yes", "--storage", storage)
    assert_refused(done, "expected another arm than the baseline 'lmax=0'")
    done = tesseral("drop", "small", "--arm", "lmax=7", "--yes", "--storage", storage)
    assert_refused(done, "expected the label of an arm of small, got 'lmax=7'; there are: lmax=0; lmax=1")


def test_several_arms_are_dropped_at_once_as_a_refused_growth_says(storage, study_file):
    text = water_study("small", "network.hidden.lmax = [0, 1, 2]", epochs=1, hidden="{ mul = [4, 2, 2] }")
    study_file.write_text(text)
    package.run(study_file, storage, "inline")
    study_file.write_text(text.replace("[0, 1, 2]", "[0]"))
    done = tesseral("run", str(study_file), "--storage", storage, "--executor", "inline")
    assert_refused(done, "which `tesseral drop small --arm 'lmax=1' --arm 'lmax=2'` would drop")
    done = tesseral("drop", "small", "--arm", "lmax=1", "--arm", "lmax=2", "--yes", "--storage", storage)
    assert "small: arms lmax=1; lmax=2 are dropped; the records keep 6 trials." in done.stdout
    assert package.open_study(storage, "small").study.arms == ("lmax=0",)
    assert [entry.plan["arm"] for entry in find_trials(storage, "small", None)] == ["lmax=0"] * 3
    with pytest.raises(RecordError, match=r"or an arm, got 'lmax=1', .*; arms are: lmax=0$"):
        find_trials(storage, "small", "lmax=1")
    assert package.run(study_file, storage, "inline").states == {State.COMPLETE: 3}
