"""The command line as a user meets it: bad input is one line, exit code 2, and nothing is written."""

import json
import pickle
from collections import Counter
from dataclasses import asdict, replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tesseral.analysis.statistics.progress import state_counts
from tesseral.analysis.tables.open import open_trials
from tesseral.cluster.campaign.driver import Ended
from tesseral.cluster.commands.exit_codes import finish
from tesseral.cluster.planning.plan import prepare
from tesseral.study.configuration.trial import Cause, State
from tesseral.study.design.stages import Best
from tesseral.study.records.attempt import Attempt
from tesseral.study.records.lease import Lease
from tesseral.study.records.ledger import freeze, write_plan
from tesseral.study.records.outcome import seal_outcome
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.command_line import assert_refused, tesseral


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs = 6", "epoch = 6", ["training.epoch", "did you mean 'epochs'"]),
        ("batch_size = 4", "batch_size = '4'", ["training.batch_size", "an integer"]),
        ("[0, 1]", "[0, 11]", ["factors.network.hidden.lmax", "at most 10", "11"]),
        ("[0, 1]", "[]", ["factors.network.hidden.lmax", "at least one level"]),
        ("[0, 1]", "[0, 0]", ["factors.network.hidden.lmax (entry 2)", "twice"]),
        ("network.hidden.lmax = [0, 1]", "network.hidden.irreps = ['4x0']", ["4x0", "16x0e+8x1o"]),
        ("allow_unreachable = true", "", ["arm 'lmax=0'", "4e", "allow_unreachable = true"]),
        ("water_tiny", "water_none", ["water_none.parquet"]),
        ("train = 8", "train = 9", ["data", "14", "15"]),
    ],
)
def test_a_bad_study_is_refused_and_nothing_is_written(storage, study_file, old, new, words):
    text = study_file.read_text()
    assert old in text
    study_file.write_text(text.replace(old, new, 1))
    before = sorted(storage.rglob("*"))
    assert_refused(tesseral("run", study_file, "--storage", storage, "--executor", "inline"), *words)
    assert sorted(storage.rglob("*")) == before


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), ["cannot be read"]),
        (lambda path: path.write_text("not Parquet"), ["cannot be read"]),
        (lambda path: pq.write_table(pa.table({"x": [1]}), path), ["another program"]),
    ],
)
def test_bad_reference_data_is_refused(storage, study_file, spoil, words):
    spoil(storage / "reference" / "water_tiny.parquet")
    done = tesseral("run", study_file, "--storage", storage, "--executor", "inline")
    assert_refused(done, "water_tiny.parquet", *words)
    assert not (storage / "small").exists()


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_with_code_in_it_is_refused_by_name(tmp_path):
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps([Evil()]))
    (tmp_path / "h.out").write_text("")
    done = tesseral(
        "reference", "import", tmp_path / "evil.pkl", "--hydrogen", tmp_path / "h.out", "--oxygen", tmp_path / "h.out",
        "--storage", tmp_path / "runs",
    )  # fmt: skip
    assert_refused(done, "print")
    assert "executed" not in done.stdout
    assert not (tmp_path / "runs").exists()


def test_an_unknown_study_names_the_known_ones(storage):
    assert_refused(tesseral("status", "nope", "--storage", storage), "nope")
    assert_refused(tesseral("status", "nope", "--storage", storage / "runz"), "found no folder", "runz")


def test_status_counts_what_is_due(storage, study_file):
    """Trials are recorded as they are launched; the others are those that the study file asks for."""
    study = Study.load(study_file)
    store = Store(storage).child("small")
    freeze(store, study)
    shown = tesseral("status", "small", "--storage", storage)
    assert json.loads(tesseral("status", "small", "--storage", storage, "--json").stdout)["arms"] == {
        "lmax=0": {"planned": 3},
        "lmax=1": {"planned": 3},
    }
    assert "0 of 3" in shown.stdout
    assert "No driver runs it now" in shown.stdout
    plan = prepare(study, str(storage))
    write_plan(store, plan.plan_confirm(plan.arms[0], 0, 0), "small")
    assert state_counts(open_trials(storage, "small")) == {
        "confirm": {"lmax=0": {State.PLANNED: 3}, "lmax=1": {State.PLANNED: 3}}
    }
    (path,) = store.paths("trials")
    seal_outcome(store, path.split("/")[1], "0-0", State.FAILED, [], 0, reason="none")
    assert state_counts(open_trials(storage, "small")) == {
        "confirm": {"lmax=0": {State.PLANNED: 2, State.FAILED: 1}, "lmax=1": {State.PLANNED: 3}}
    }


def test_what_was_interrupted_does_not_run(storage, study_file):
    """After Ctrl-C a trial that had begun has no outcome, and nothing trains it until the study is run again."""
    study = Study.load(study_file)
    store = Store(storage).child("small")
    freeze(store, study)
    plan = prepare(study, str(storage))
    planned = plan.plan_confirm(plan.arms[0], 0, 0)
    write_plan(store, planned, "small")
    with Lease.acquire(store) as lease:
        Attempt.begin(store, planned.trial.id, lease.number, {})
        running = json.loads(tesseral("status", "small", "--storage", storage, "--json").stdout)
    assert running["arms"]["lmax=0"] == {"planned": 2, "running": 1}
    assert running["driver"].startswith("process ")
    left = json.loads(tesseral("status", "small", "--storage", storage, "--json").stdout)
    assert left["arms"]["lmax=0"] == {"planned": 2, "interrupted": 1}
    assert left["driver"] is None
    shown = tesseral("status", "small", "--storage", storage).stdout
    assert "interrupted" in shown
    assert "running" not in shown


def test_status_shows_search_and_confirm_apart(storage, study_file):
    """A search that ended early is as large as it was; an arm of which it found nothing is not confirmed."""
    space = "\n[search]\ntrials = 5\n[search.space]\ntraining.learning_rate = { low = 1e-3, high = 1e-1 }\n"
    study_file.write_text(study_file.read_text() + space)
    study = Study.load(study_file)
    store = Store(storage).child("small")
    freeze(store, study)
    arms = [arm.key for arm in study.arms]
    store.create(
        f"search/{arms[0]}/best.json",
        json.dumps(asdict(Best(None, {}, None, 4, "all 4 points of its search space are proposed"))).encode(),
    )
    assert state_counts(open_trials(storage, "small")) == {
        "search": {"lmax=0": {State.PLANNED: 4}, "lmax=1": {State.PLANNED: 5}},
        "confirm": {"lmax=0": {}, "lmax=1": {State.PLANNED: 3}},
    }
    tree = json.loads(tesseral("status", "small", "--storage", storage, "--json").stdout)
    assert tree["search"] == {"lmax=0": {"planned": 4}, "lmax=1": {"planned": 5}}
    assert tree["confirm"] == {"lmax=0": {"planned": 0}, "lmax=1": {"planned": 3}}
    shown = tesseral("status", "small", "--storage", storage).stdout
    assert shown.index("small: search") < shown.index("small: confirm")


def test_arms_that_matching_joined_are_one_in_the_status(storage, study_file):
    study = Study.load(study_file)
    store = Store(storage).child("small")
    freeze(store, study)
    plan = prepare(study, storage)
    planned = plan.plan_confirm(plan.arms[0], 0, 0)
    joined = replace(planned.arm, labels=("lmax=0", "lmax=1"))
    write_plan(store, replace(planned, arm=joined), "small")
    assert state_counts(open_trials(storage, "small")) == {"confirm": {"lmax=0 = lmax=1": {State.PLANNED: 3}}}


def test_run_status_report_resume(storage, study_file):
    run = ("run", study_file, "--storage", storage, "--executor", "inline")
    planned = tesseral("plan", study_file, "--storage", storage, "--json")
    plan = json.loads(planned.stdout)
    assert plan["trials"] == 6
    assert [[term[-2:] for term in arm["unreachable"]] for arm in plan["arms"]] == [["3o", "4e"], ["4e"]]
    assert not (storage / "small").exists(), "plan writes nothing"
    done = tesseral(*run)
    assert done.returncode == 0, done.stderr
    assert "6 of 6 trials complete" in done.stdout
    first = {path: path.read_bytes() for path in storage.glob("small/trials/*/outcome.json")}
    assert len(first) == 6
    again = tesseral(*run)
    assert again.returncode == 0
    assert {path: path.read_bytes() for path in storage.glob("small/trials/*/outcome.json")} == first
    status = json.loads(tesseral("status", "small", "--storage", storage, "--json").stdout)
    assert status["arms"] == {"lmax=0": {"complete": 3}, "lmax=1": {"complete": 3}}
    report = json.loads(tesseral("report", study_file, "--storage", storage, "--json").stdout)
    assert [arm["arm"] for arm in report["arms"]] == ["lmax=0", "lmax=1"]
    assert {row["arm"] for row in report["layers"]["effective_rank"]} == {"lmax=0", "lmax=1"}
    assert set(report["layers"]["audit"]) == {"lmax=0", "lmax=1"}
    shown = tesseral("report", study_file, "--storage", storage).stdout.splitlines()
    assert not any("notes" in line for line in shown)
    assert any(line.startswith("lmax=0: cannot reach ") for line in shown)
    assert report["arms"][0]["error"]["error"]["low"] is not None, "three pairs make an interval"
    assert (storage / "small" / "report.html").stat().st_size > 10_000
    other = tesseral("report", study_file, "--storage", storage, "--baseline", "lmax=1")
    assert "Arms are compared with lmax=1, as requested" in other.stdout
    pages = sorted(path.name for path in storage.glob("small/report*.html"))
    assert len(pages) == 2, "the study's own report stays"
    assert pages[0] in other.stdout
    assert_refused(
        tesseral("report", "small", "--storage", storage, "--baseline", "lmax=7"), "there are: lmax=0; lmax=1"
    )
    trials = pq.read_table(storage / "small" / "trials.parquet")
    assert trials.num_rows == 6
    assert trials["factor.network.hidden.lmax"].to_pylist().count(1) == 3

    study_file.write_text(study_file.read_text().replace("epochs = 6", "epochs = 7"))
    assert_refused(tesseral(*run), "training.epochs is 7 and was 6")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--lease", "0"], "expected a number of at least 1.0, got"),
        (["--lease", "x"], "expected a number, got"),
        (["--executor", "x"], "'x' is not one of 'ray', 'inline'"),
    ],
)
def test_an_option_is_refused_in_plain_words(study_file, options, sentence):
    done = tesseral("run", study_file, *options)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.replace("│", "").split())
    assert "Value error" not in done.stderr


def test_resources_that_this_machine_lacks_are_refused(storage, study_file):
    study_file.write_text(study_file.read_text() + "cpus = 100000\n")
    assert_refused(tesseral("run", study_file, "--storage", storage), "resources.cpus", "100000")


def test_a_second_driver_is_refused_with_exit_code_3(storage, study_file):
    with Lease.acquire(Store(storage / "small"), 1.0):
        done = tesseral("run", study_file, "--storage", storage, "--executor", "inline")
    assert done.returncode == 3
    assert "the study is held by process" in done.stderr
    assert not list(storage.glob("small/trials/*"))


def test_how_a_failed_trial_is_trained_again_is_said(capsys):
    failed = Ended(
        Counter({State.COMPLETE: 1, State.FAILED: 2}),
        Counter(),
        ("RuntimeError: no luck",),
        causes=Counter([Cause.MEMORY, Cause.CODE]),
    )
    with pytest.raises(SystemExit, match="1"):
        finish("mine", failed)
    printed = capsys.readouterr()
    assert "mine: 1 of 3 trials complete, 2 failed: 1 out of memory, 1 by an exception" in printed.out
    said = " ".join(printed.err.split())
    assert "failed: RuntimeError: no luck" in said
    assert "tesseral retry mine makes it due, and the same command trains it" in said


def test_what_would_be_refused_again_is_not_to_be_retried(capsys):
    refused = Ended(Counter({State.FAILED: 1}), Counter(), ("too large",), causes=Counter([Cause.REFUSED]))
    with pytest.raises(SystemExit, match="1"):
        finish("mine", refused)
    assert "retry" not in capsys.readouterr().err
