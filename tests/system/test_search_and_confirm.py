"""The search and confirm stages end to end, in this process: budgets, early stopping, repeats, restarts, reuse."""

import importlib
import json
import linecache
import sys
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tesseral.analysis.report.report import report
from tesseral.analysis.statistics.progress import state_counts
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.endings import endings
from tesseral.analysis.tables.open import open_study
from tesseral.cluster.campaign import campaign
from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.campaign.driver import run_study
from tesseral.cluster.campaign.search_stage import SearchStage
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.planning.plan import prepare
from tesseral.models.training import training
from tesseral.study.configuration.trial import State, canonical
from tesseral.study.errors import RecordError, StudyFileError, TesseralError
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.outcome import seal_outcome
from tesseral.study.records.rungs import seal_rung
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support import stand_in_training

SEARCH = """
[search]
trials = 6
sampler = "random"

[search.space]
training.learning_rate = { low = 1e-3, high = 1e-1, log = true }
training.batch_size = [2, 4]

[search.asha]
min_epochs = 1
reduction = 2
"""


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    """A training of milliseconds, except where a test is about the training itself (mark `trains`)."""
    if request.node.get_closest_marker("trains") is None:
        monkeypatch.setattr(training, "train", stand_in_training.train)


@pytest.fixture
def searched(study_file) -> Path:
    """Two arms, six proposals each with rungs at 1, 2 and 4 of 6 epochs, then two blocks."""
    study_file.write_text(study_file.read_text().replace("blocks = 3", "blocks = 2") + SEARCH)
    return study_file


@pytest.fixture
def short(searched) -> Path:
    """The same with one rung, after the first of two epochs, and one block: for what does not depend on how many."""
    searched.write_text(searched.read_text().replace("epochs = 6", "epochs = 2").replace("blocks = 2", "blocks = 1"))
    return searched


def run(study_file: Path, storage: Path, executor=None, display=None):
    plan = prepare(Study.load(study_file), storage)
    return run_study(plan, executor or InlineExecutor(), display or Silent())


class Once(InlineExecutor):
    """One job, and then the driver ends."""

    def run(self, work):
        if (job := work.suggest()) is not None:
            self._runner(job)
            work.ended(job.trial)


def entries(storage: Path, name: str = "small"):
    return Ledger(Store(storage / name)).entries()


def proposals(storage: Path) -> dict[str, list[dict]]:
    by_arm: dict[str, list[dict]] = {}
    for path in sorted(storage.glob("small/search/*/[0-9]*.json")):
        by_arm.setdefault(path.parent.name, []).append(json.loads(path.read_text()))
    return {arm: sorted(records, key=lambda record: record["number"]) for arm, records in by_arm.items()}


@pytest.mark.trains
def test_every_arm_has_the_same_budget_and_its_best_is_confirmed(storage, searched):
    ended = run(searched, storage)
    assert ended.states.total() == 2 * 6 + 2 * 2
    assert ended.states[State.PRUNED] > 0
    recorded = entries(storage)
    assert Counter((e.plan["arm"], e.plan["stage"]) for e in recorded) == {
        ("lmax=0", "search"): 6,
        ("lmax=1", "search"): 6,
        ("lmax=0", "confirm"): 2,
        ("lmax=1", "confirm"): 2,
    }
    for entry in recorded:
        metrics = entry.outcome.get("metrics", {})
        assert any(name.startswith("test.") for name in metrics) == (entry.plan["stage"] == "confirm")
    for arm in ("lmax=0", "lmax=1"):
        of_arm = [e for e in recorded if e.plan["arm"] == arm]
        complete = [e for e in of_arm if e.plan["stage"] == "search" and e.state == State.COMPLETE]
        best = min(complete, key=lambda e: e.outcome["metrics"]["validation.l2_error"])
        for entry in of_arm:
            if entry.plan["stage"] == "confirm":
                assert entry.trial.configuration.training == best.trial.configuration.training
    seeds = {(e.plan["stage"], e.trial.seeds.split) for e in recorded}
    assert len(seeds) == 3, "one split for the search, another for each block"


def test_trials_are_stopped_by_the_rule_and_their_rows_end_at_the_rung(storage, searched):
    run(searched, storage)
    tables = open_study(storage, "small")
    curves = tables.curves.filter(pl.col("split") == "validation", pl.col("metric") == "l2_error").collect()
    stopped = [e for e in entries(storage) if e.state == State.PRUNED]
    assert stopped
    for entry in stopped:
        (decision,) = [json.loads(p.read_text()) for p in storage.glob(f"small/trials/{entry.id}/decisions/*.json")]
        rows = curves.filter(pl.col("trial") == entry.id)
        assert rows["step"].max() == decision["step"] == entry.outcome["steps"]
        assert rows["epoch"].max() == decision["epoch"]
        rung = json.loads((storage / f"small/trials/{entry.id}/rungs/{decision['epoch']}.json").read_text())
        assert rows.filter(pl.col("epoch") == decision["epoch"])["value"].item() == rung["value"]
        own = [
            json.loads(path.read_text())["value"]
            for other in entries(storage)
            if other.plan["arm"] == entry.plan["arm"]
            for path in storage.glob(f"small/trials/{other.id}/rungs/{decision['epoch']}.json")
        ]
        assert entry.outcome["metrics"]["validation.l2_error"] == rung["value"]
        assert 0 < entry.outcome["seconds"] == rung["seconds"]
        assert rung["value"] > min(own), "the best of its own arm is never stopped"


def test_a_second_start_does_nothing(storage, short):
    run(short, storage)
    before = {path: path.read_bytes() for path in storage.glob("small/trials/*/outcome.json")}
    asked = proposals(storage)

    class Never:
        def run(self, work):
            assert work.done

    assert run(short, storage, Never()).states.total() == 2 * 6 + 2
    assert {path: path.read_bytes() for path in storage.glob("small/trials/*/outcome.json")} == before
    assert proposals(storage) == asked


@pytest.mark.parametrize("sampler", ["tpe", "qmc"])
def test_interrupted_after_every_trial_it_proposes_the_same(storage, searched, tmp_path_factory, sampler):
    """A driver a job: the search is rebuilt from its records before each proposal."""
    text = (
        searched.read_text().replace('sampler = "random"', f'sampler = "{sampler}"').replace("epochs = 6", "epochs = 1")
    )
    searched.write_text(text.replace("blocks = 2", "blocks = 1"))

    starts = 0
    while run(searched, storage, Once()).states[State.PLANNED]:
        starts += 1
        assert starts < 30
    other = tmp_path_factory.mktemp("undisturbed")
    (other / "reference").symlink_to(storage / "reference")
    run(searched, other)
    keys = ("number", "trial", "params", "distributions", "system_attrs", "study_attrs")
    for arm, records in proposals(storage).items():
        undisturbed = proposals(other)[arm]
        assert [[r[k] for k in keys] for r in records] == [[r[k] for k in keys] for r in undisturbed]
        assert len({record["trial"] for record in records}) == 6
    assert {e.id for e in entries(storage)} == {e.id for e in entries(other)}


def test_the_bar_counts_the_steps_that_the_search_makes_of_a_batch(storage, searched):
    class Bar(Silent):
        total = done = 0

        def started(self, trials, finished, steps):
            self.total, self.done = steps, 0

        def added(self, trials, steps):
            self.total += steps

        def ended(self, trial, steps):
            self.done += steps

    text = searched.read_text().replace("[search.asha]\nmin_epochs = 1\nreduction = 2\n", "")
    searched.write_text(text.replace("epochs = 6", "epochs = 1"))
    first, second, whole = Bar(), Bar(), Bar()
    run(searched, storage, Once(), first)
    ended = run(searched, storage, display=second)
    assert ended.states == {State.COMPLETE: 16}
    assert second.done == second.total
    run(searched, storage, display=whole)
    assert whole.total == 0


def test_repeats_are_answered_and_not_counted_and_an_exhausted_space_is_said(storage, short):
    text = short.read_text().replace("training.learning_rate = { low = 1e-3, high = 1e-1, log = true }", "")
    short.write_text(text)
    display = Silent()
    run(short, storage, display=display)
    assert Counter(e.plan["stage"] for e in entries(storage)) == {"search": 4, "confirm": 2}
    assert len(display.sentences) == 2
    assert "after 2 trials" in display.sentences[0]
    for records in proposals(storage).values():
        assert [record["number"] for record in records] == list(range(len(records)))


def test_a_trial_that_another_study_has_trained_is_copied(storage, short):
    run(short, storage)
    again = short.read_text().replace('name = "small"', 'name = "again"').replace("blocks = 1", "blocks = 2")
    short.write_text(again)
    ended = run(short, storage)
    complete = sum(e.state == State.COMPLETE for e in entries(storage))
    assert ended.reused == {"small": complete}
    copied = [e for e in entries(storage, "again") if e.outcome.get("reused") == "small"]
    assert len(copied) == complete
    ours = open_study(storage, "again").curves.collect()
    theirs = open_study(storage, "small").curves.collect()
    for entry in copied:
        mine = ours.filter(pl.col("trial") == entry.id).sort(ours.columns)
        assert mine.height > 0
        assert mine.equals(theirs.filter(pl.col("trial") == entry.id).sort(ours.columns))
        assert (storage / "again" / entry.outcome["checkpoint"]).exists()
        for rung in (storage / "small" / "trials" / entry.id).glob("rungs/*"):
            assert (storage / "again" / "trials" / entry.id / "rungs" / rung.name).read_bytes() == rung.read_bytes()
    assert any(storage.glob("again/trials/*/rungs/*")), "newcomers are compared with them"


def test_a_study_that_could_not_finish_a_trial_hides_none_that_did(storage, short, monkeypatch):
    text = short.read_text()
    short.write_text(text.replace('name = "small"', 'name = "a-failure"'))
    with monkeypatch.context() as broken:
        broken.setattr(training, "train", lambda *_, **__: 1 / 0)
        run(short, storage)
    for name in ("small", "third"):
        short.write_text(text.replace('name = "small"', f'name = "{name}"'))
        ended = run(short, storage)
    assert ended.reused.keys() == {"small"}


def test_other_traces_are_not_reused(storage, short):
    run(short, storage)
    short.write_text(short.read_text().replace('name = "small"', 'name = "again"') + "\n[traces]\ngrowth = 3.0\n")
    assert not run(short, storage).reused


def test_what_a_driver_decided_before_it_was_killed_is_carried_out(storage, short):
    class Killed(InlineExecutor):
        """Dies when the first decision is sealed, before the worker is stopped."""

        def run(self, work):
            judge = work.judge

            def and_die(trial, epoch, value):
                if judge(trial, epoch, value):
                    raise KeyboardInterrupt
                return False

            work.judge = and_die
            super().run(work)

    with pytest.raises(KeyboardInterrupt):
        run(short, storage, Killed())
    (decision,) = storage.glob("small/trials/*/decisions/*.json")
    trial = decision.parent.parent
    assert not (trial / "outcome.json").exists()
    attempts = list((trial / "attempts").iterdir())
    run(short, storage)
    assert json.loads((trial / "outcome.json").read_text())["state"] == "pruned"
    assert list((trial / "attempts").iterdir()) == attempts, "it was not begun again"


def test_sequential_allocation_adds_whole_blocks_until_the_difference_is_known(storage, study_file):
    text = study_file.read_text().replace("[0, 1]", "[0, 1, 2]").replace("epochs = 6", "epochs = 1")
    more = '\nallocate = "sequential"\nprecision = 1e-9\nmax_blocks = 12\nreplicates = 1'
    study_file.write_text(text.replace("\nreplicates = 1", more))
    ended = run(study_file, storage)
    assert ended.states == {State.COMPLETE: 36}, "no precision is reached, so the budget ends it"
    study_file.write_text(study_file.read_text().replace("1e-9", "1e9").replace('"small"', '"loose"'))
    assert run(study_file, storage).states == {State.COMPLETE: 33}, "a look at six blocks, and five more"


def test_errors_of_failed_trials_allocate_nothing(storage, study_file):
    def failing(job, on_progress, on_rung):
        store = Store(job.storage).child(job.study)
        metrics = {"test.l2_error": 1.0}
        seal_outcome(store, job.trial, "0-0", State.FAILED, [], 0, steps=0, lease=job.lease, metrics=metrics)

    more = 'blocks = 3\nallocate = "sequential"\nprecision = 1.0\nmax_blocks = 13'
    study_file.write_text(study_file.read_text().replace("blocks = 3", more))
    assert run(study_file, storage, InlineExecutor(failing)).states == {State.FAILED: 26}


MATCHED = """
[search]
trials = 1

[search.space]
network.radial_width = [8]
"""
"""It may change sizes, so arms that are matched in different ways are searched apart; here they come to one network."""


def test_arms_that_choose_one_network_share_its_trials(storage, study_file):
    text = study_file.read_text().replace("blocks = 3", "blocks = 2").replace("epochs = 6", "epochs = 1")
    study_file.write_text(text.replace("[0, 1]", '[0, 1]\nmatch.by = ["none", "parameters"]') + MATCHED)

    class Counting(InlineExecutor):
        jobs = 0

        def run(self, work):
            suggest = work.suggest

            def counted():
                job = suggest()
                self.jobs += job is not None
                return job

            work.suggest = counted
            super().run(work)

    executor = Counting()
    assert run(study_file, storage, executor).states == {State.COMPLETE: 4 * (1 + 2)}
    assert executor.jobs == 4 + 3 * 2, "each arm is searched by trials of its own, and two arms confirm the same"
    confirmed = [e for e in entries(storage) if e.plan["stage"] == "confirm"]
    (pair,) = {tuple(plan["arm"] for plan in e.plans) for e in confirmed if e.others}
    assert pair == ("lmax=1, match=none", "lmax=1, match=parameters")
    trials = open_study(storage, "small").trials
    shared = trials.filter(pl.col("stage") == "confirm", pl.col("arm").str.starts_with("lmax=1")).sort("block", "arm")
    assert shared["trial"].n_unique() == 2
    assert shared.select("arm", "match", "factor.match.by").unique().sort("arm").rows() == [
        ("lmax=1, match=none", "none", "none"),
        ("lmax=1, match=parameters", "parameters", "parameters"),
    ]
    stands = state_counts(open_study(storage, "small"))
    assert {arm: counts[State.COMPLETE] for arm, counts in stands["confirm"].items()} == dict.fromkeys(
        [f"lmax={order}, match={by}" for order in (0, 1) for by in ("none", "parameters")], 2
    )
    tables = open_study(storage, "small")
    assert "12 of 12" not in report(tables)
    assert analyse(tables).progress.complete == analyse(tables).progress.planned == 8
    rows = {row.arm: row for row in analyse(tables).arms}
    assert rows[pair[0]].error == replace(rows[pair[1]].error, arm=pair[0])
    again = Counting()
    assert run(study_file, storage, again).states == {State.COMPLETE: 12}
    assert again.jobs == 0


def test_killed_between_two_arms_of_one_trial_nothing_is_lost(storage, study_file):
    text = study_file.read_text().replace("blocks = 3", "blocks = 2").replace("epochs = 6", "epochs = 1")
    study_file.write_text(text.replace("[0, 1]", '[0, 1]\nmatch.by = ["none", "parameters"]') + MATCHED)
    starts = 0
    while run(study_file, storage, Once()).states[State.PLANNED]:
        starts += 1
        assert starts < 12
    assert run(study_file, storage).states == {State.COMPLETE: 12}
    assert sum(len(e.others) for e in entries(storage)) == 2


def test_arms_that_no_search_can_tell_apart_are_one(storage, study_file):
    text = study_file.read_text().replace("blocks = 3", "blocks = 2").replace("epochs = 6", "epochs = 1")
    both = MATCHED.replace("network.radial_width = [8]", "training.batch_size = [2]")
    study_file.write_text(text.replace("[0, 1]", '[0, 1]\nmatch.by = ["none", "parameters"]') + both)
    assert run(study_file, storage).states == {State.COMPLETE: 3 * (1 + 2)}
    assert {e.plan["arm"] for e in entries(storage)} >= {"lmax=1, match=none = lmax=1, match=parameters"}


def test_two_names_of_the_same_data_are_refused(storage, study_file):
    (storage / "reference" / "copy.parquet").symlink_to(storage / "reference" / "water_tiny.parquet")
    levels = 'data.reference = ["reference/water_tiny.parquet", "reference/copy.parquet"]'
    study_file.write_text(
        study_file.read_text().replace("network.hidden.lmax = [0, 1]", f"network.hidden.lmax = [0]\n{levels}")
    )
    with pytest.raises(StudyFileError, match="their data differ in name alone"):
        run(study_file, storage)


@pytest.mark.trains
def test_a_stage_remembers_what_was_judged_before_a_restart(storage, searched):
    run(searched, storage)
    plan = prepare(Study.load(searched), storage)
    by_id = {e.id: e for e in entries(storage)}

    def rebuilt(changed):
        (arm,) = [one for one in plan.arms if one.label == changed.plan["arm"]]
        store = Store(storage / "small")
        return SearchStage(plan, plan.study.file.search, arm, 0, store, by_id | {changed.id: changed}, None)

    # Of an arm in which two trials reached the last rung: one alone has nothing to be held against.
    last = Counter(by_id[path.parts[-3]].plan["arm"] for path in storage.glob("small/trials/*/rungs/4.json"))
    ended = [e for e in by_id.values() if e.plan["stage"] == "search" and e.state == State.COMPLETE]
    whole = next(e for e in ended if last[e.plan["arm"]] > 1)
    steps = whole.trial.configuration.steps_per_epoch
    begun = whole.begins[0] | {"attempt": 2, "start": 4 * steps + 1}
    lost = replace(whole, outcome=None)
    (kept,) = storage.glob(f"small/trials/{whole.id}/checkpoint/*")
    kept.unlink()
    # Rungs at 1, 2 and 4 epochs: of a trial that holds all three, only the last one may not have been judged yet.
    assert [rebuilt(lost).judge(lost.id, epoch, 1e9) is None for epoch in (1, 2, 4)] == [True, True, False]
    further = replace(lost, begins=(*whole.begins, begun))
    assert rebuilt(further).judge(lost.id, 4, 1e9) is None, "its attempt began beyond the rung"
    nameless = replace(lost, begins=())
    assert rebuilt(nameless).judge(lost.id, 4, 1e9) is not None
    kept.with_name(f"1-{4 * steps}-{16 * '0'}").write_bytes(b"")
    assert rebuilt(nameless).judge(lost.id, 4, 1e9) is None, "a checkpoint is kept after the rung was judged"

    early = next(e for e in by_id.values() if e.state == State.PRUNED and e.outcome["steps"] < 4 * 2)
    end = early.outcome["steps"] // early.trial.configuration.steps_per_epoch
    facts = {"step": 4 * steps, "attempt": 1, "lease": 1}
    seal_rung(Store(storage / "small"), early.id, 4, 1e-9, **facts)  # its worker went on until it heard
    stage = rebuilt(early)
    assert max(stage._findings[early.id].rungs) == end
    assert early.id not in stage._halving.values[4]


PROPOSER = """
def space(trial, arm):
    return {"training.learning_rate": trial.suggest_float("rate", 1e-3, 1e-2)}
"""


def test_another_proposer_is_refused(storage, study_file, monkeypatch):
    monkeypatch.syspath_prepend(str(study_file.parent))
    text = study_file.read_text().replace("blocks = 3", "blocks = 1").replace("epochs = 6", "epochs = 1")
    study_file.write_text(text + '\n[search]\ntrials = 2\ndefine = "my_proposer:space"\n')
    module = study_file.parent / "my_proposer.py"

    def rewrite(source: str) -> None:
        module.write_text(source)
        monkeypatch.delitem(sys.modules, "my_proposer", raising=False)
        linecache.clearcache()
        importlib.invalidate_caches()

    rewrite(PROPOSER.replace("trial, arm", "trial"))
    with pytest.raises(TesseralError, match="TypeError"):
        run(study_file, storage)
    rewrite(PROPOSER)
    assert run(study_file, storage).states == {State.COMPLETE: 2 * (2 + 1)}, "a version that failed binds nobody"
    assert run(study_file, storage, Once()).states == {State.COMPLETE: 6}
    rewrite(PROPOSER.replace("1e-2", "1e-1"))
    with pytest.raises(RecordError, match=r"another source of the module that search\.define names \(content"):
        run(study_file, storage, Once())


def test_the_whole_of_it_on_an_object_store(storage, searched, bucket):
    url = f"{bucket}/{uuid.uuid4().hex}"
    reference = storage / "reference" / "water_tiny.parquet"
    Store(url).create("reference/water_tiny.parquet", reference.read_bytes())
    searched.write_text(searched.read_text().replace("trials = 6", "trials = 3").replace("epochs = 6", "epochs = 3"))
    there, here = run(searched, url), run(searched, storage)
    assert there.states == here.states
    ours, theirs = Ledger(Store(f"{url}/small")).entries(), entries(storage)
    assert {e.id: e.state for e in ours} == {e.id: e.state for e in theirs}
    curves = [open_study(where, "small").curves.collect() for where in (url, str(storage))]
    assert curves[0].sort(curves[0].columns).equals(curves[1].sort(curves[1].columns))


@pytest.mark.trains
def test_a_trial_that_runs_out_of_memory_goes_on_in_halves(storage, short, monkeypatch):
    real = training.train

    def hungry(trial, reference, recorder, *, parts, **options):
        if parts == 1 and trial.configuration.training.batch_size > 2:
            raise MemoryError("expected less")
        return real(trial, reference, recorder, parts=parts, **options)

    monkeypatch.setattr(training, "train", hungry)
    run(short, storage)
    parts = {e.id: [begin["parts"] for begin in e.begins] for e in entries(storage)}
    for entry in entries(storage):
        large = entry.trial.configuration.training.batch_size > 2
        assert parts[entry.id] == ([1, 2] if large else [1])
        assert entry.state in (State.COMPLETE, State.PRUNED)


@pytest.mark.trains
def test_memory_that_is_too_small_for_halves_fails_the_trial(storage, study_file, monkeypatch):
    def hungry(*_, **__):
        raise MemoryError("expected less")

    monkeypatch.setattr(training, "train", hungry)
    assert run(study_file, storage).states == {State.FAILED: 6}
    assert {len(e.begins) for e in entries(storage)} == {2}


def test_a_matched_search_gives_every_arm_its_size_whatever_it_proposes(storage, searched):
    text = searched.read_text().replace("training.batch_size = [2, 4]", "network.radial_width = [8, 16]")
    text = text.replace("mul = [4, 2]", "mul = [16, 8]").replace("epochs = 6", "epochs = 2")
    searched.write_text(text.replace("trials = 6", "trials = 3") + '\n[match]\nby = "parameters"\n')
    run(searched, storage)
    live = [e.plan["parameters_live"] for e in entries(storage)]
    assert max(live) / min(live) < 1.03
    assert len({e.plan["residual"] for e in entries(storage)}) > 1


REFUSED = """
[match]
by = "parameters"
to = 4000

[search]
trials = 4
sampler = "tpe"

[search.space]
network.radial_width = [8, 2000]
training.learning_rate = { low = 1e-3, high = 1e-1, log = true }
"""
"""A radial network of 2,000 neurons alone has more than 4,000 parameters."""


def refusing(study_file: Path, more: str = REFUSED) -> None:
    text = study_file.read_text().replace("epochs = 6", "epochs = 1").replace("blocks = 3", "blocks = 1")
    study_file.write_text(text + more)


def test_a_proposal_that_cannot_be_matched_fails_and_the_search_goes_on(storage, study_file):
    refusing(study_file)
    ended = run(study_file, storage)
    searched = [e for e in entries(storage) if e.plan["stage"] == "search"]
    refused = [e for e in searched if e.trial.configuration.network.radial_width == 2000]
    assert Counter(e.plan["arm"] for e in searched) == {"lmax=0": 4, "lmax=1": 4}, "they count in the budget"
    assert 0 < len(refused) == ended.states[State.FAILED] < 8
    for entry in refused:
        assert entry.begins == (), "never trained"
        assert entry.plan["hidden_natural"] == entry.trial.configuration.network.hidden.irreps
        assert entry.plan["residual"] > 1
        assert (
            "cannot be given the size of their arm in parameters: expected a size that widths"
            in (entry.outcome["reason"])
        )
    assert {e.state for e in searched if e not in refused} == {State.COMPLETE}
    tables = open_study(storage, "small")
    (group,) = endings(tables.trials)
    assert (group.state, group.stage, group.trials) == ("failed", "search", len(refused))
    assert group.reason in report(tables)
    assert sum(arm.failed for arm in analyse(tables).searches) == len(refused)


def test_a_restart_knows_the_proposals_that_could_not_be_matched(storage, study_file, tmp_path_factory, monkeypatch):
    """Killed before a refused proposal's outcome, and once more after each trial, it comes to the same."""
    refusing(study_file)
    other = tmp_path_factory.mktemp("undisturbed")
    (other / "reference").symlink_to(storage / "reference")
    run(study_file, other)
    real = campaign.seal_outcome

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(campaign, "seal_outcome", killed)
    with pytest.raises(KeyboardInterrupt):
        run(study_file, storage)
    (half,) = [e for e in entries(storage) if e.outcome is None]
    assert half.trial.configuration.network.radial_width == 2000
    monkeypatch.setattr(campaign, "seal_outcome", real)
    starts = 0
    while run(study_file, storage, Once()).states[State.PLANNED]:
        starts += 1
        assert starts < 20
    for arm, records in proposals(storage).items():
        undisturbed = proposals(other)[arm]
        assert [(r["trial"], r["params"]) for r in records] == [(r["trial"], r["params"]) for r in undisturbed]
    assert {e.id: e.state for e in entries(storage)} == {e.id: e.state for e in entries(other)}
    before = proposals(storage)
    run(study_file, storage)
    assert proposals(storage) == before


def test_a_refused_proposal_is_no_trial_of_an_arm_that_may_have_any_size(storage, study_file):
    """Both arms propose the same settings; what one refuses for its size the other trains."""
    more = REFUSED.replace("training.learning_rate = { low = 1e-3, high = 1e-1, log = true }\n", "")
    refusing(study_file, more)
    text = study_file.read_text().replace("network.hidden.lmax = [0, 1]", 'match.by = ["none", "parameters"]')
    study_file.write_text(text.replace("mul = [4, 2]", "lmax = 1, mul = [4, 2]"))
    run(study_file, storage)
    wide = [e for e in entries(storage) if e.trial.configuration.network.radial_width == 2000]
    states = {(e.plan["match"], e.state) for e in wide if e.plan["stage"] == "search"}
    assert states == {("none", State.COMPLETE), ("parameters", State.FAILED)}
    assert len({canonical(e.trial.configuration.to_dict()) for e in wide}) == 1


@pytest.mark.trains
def test_dead_irreps_are_those_of_the_trial_itself(storage, searched):
    """The search changes the depth, and with it where an irrep is of no use."""
    text = searched.read_text().replace("training.batch_size = [2, 4]", "network.layers = [1, 3]")
    searched.write_text(text.replace("trials = 6", "trials = 4").replace("epochs = 6", "epochs = 2"))
    run(searched, storage)
    plan = prepare(Study.load(searched), storage)
    for entry in entries(storage):
        dead = plan.measure.facts(entry.trial.configuration).dead
        assert entry.plan["dead_irreps"] == [{"layer": one.layer, "l": one.irrep.l, "p": one.irrep.p} for one in dead]
    trials = open_study(storage, "small").trials
    vectors = trials.filter(pl.col("arm") == "lmax=1", pl.col("stage") == "search")
    told = dict(vectors.group_by("setting.network.layers").agg(pl.col("dead").unique()).iter_rows())
    assert told[1] == ["0o+1e in layer 1 are never produced"]
    assert len(told[3]) == 1
    assert told[3] != told[1]


def test_an_arm_whose_search_fails_is_not_confirmed_and_the_others_are(storage, short, monkeypatch):
    real = training.train

    def fragile(trial, *arguments, **options):
        if "1o" in trial.configuration.network.hidden.irreps:
            raise RuntimeError("no vectors today")
        return real(trial, *arguments, **options)

    monkeypatch.setattr(training, "train", fragile)
    display = Silent()
    ended = run(short, storage, display=display)
    assert ended.states[State.FAILED] == 6
    assert ended.states[State.PLANNED] == 0
    assert display.sentences == ["arm 'lmax=1' is not confirmed: no trial of its search was completed"]
    assert Counter(e.plan["arm"] for e in entries(storage) if e.plan["stage"] == "confirm") == {"lmax=0": 1}
