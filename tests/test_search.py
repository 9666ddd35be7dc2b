"""The search and confirm stages end to end, in this process: budgets, early stopping, repeats, restarts, reuse."""

import json
import uuid
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from silent import Silent

from tesseral.analysis.open import open_study
from tesseral.cluster import worker
from tesseral.cluster.driver import run_study
from tesseral.cluster.executor import Inline
from tesseral.cluster.plan import prepare
from tesseral.study.ledger import Ledger
from tesseral.study.store import Store
from tesseral.study.study import Study
from tesseral.study.trial import State

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


@pytest.fixture
def searched(study_file) -> Path:
    """Two arms, six proposals each with rungs at 1, 2 and 4 of 6 epochs, then two blocks."""
    study_file.write_text(study_file.read_text().replace("blocks = 3", "blocks = 2") + SEARCH)
    return study_file


def run(study_file: Path, storage: Path, executor=None, display=None):
    plan = prepare(Study.load(study_file), str(storage), study_file.parent)
    return run_study(plan, executor or Inline(), display or Silent())


def entries(storage: Path, name: str = "small"):
    return Ledger(Store(storage / name)).entries()


def proposals(storage: Path) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for path in sorted(storage.glob("small/search/*/[0-9]*.json")):
        found.setdefault(path.parent.name, []).append(json.loads(path.read_text()))
    return {arm: sorted(records, key=lambda record: record["number"]) for arm, records in found.items()}


def test_every_arm_has_the_same_budget_and_its_best_is_confirmed(storage, searched):
    ended = run(searched, storage)
    assert ended.states.total() == 2 * 6 + 2 * 2
    assert ended.states[State.PRUNED] > 0
    found = entries(storage)
    assert Counter((e.plan["arm"], e.plan["stage"]) for e in found) == {
        ("lmax=0", "search"): 6,
        ("lmax=1", "search"): 6,
        ("lmax=0", "confirm"): 2,
        ("lmax=1", "confirm"): 2,
    }
    for entry in found:
        metrics = entry.outcome.get("metrics", {})
        assert any(name.startswith("test.") for name in metrics) == (entry.plan["stage"] == "confirm")
    for arm in ("lmax=0", "lmax=1"):
        of_arm = [e for e in found if e.plan["arm"] == arm]
        complete = [e for e in of_arm if e.plan["stage"] == "search" and e.state == State.COMPLETE]
        best = min(complete, key=lambda e: e.outcome["metrics"]["validation.l2_error"])
        for entry in of_arm:
            if entry.plan["stage"] == "confirm":
                assert entry.trial.configuration.training == best.trial.configuration.training
    seeds = {(e.plan["stage"], e.trial.seeds.split) for e in found}
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
        assert rung["value"] > min(own), "the best of its own arm is never stopped"


def test_a_second_start_does_nothing(storage, searched):
    run(searched, storage)
    before = {path: path.read_bytes() for path in storage.glob("small/trials/*/outcome.json")}
    asked = proposals(storage)

    class Never:
        def run(self, work):
            assert work.done

    assert run(searched, storage, Never()).states.total() == 16
    assert {path: path.read_bytes() for path in storage.glob("small/trials/*/outcome.json")} == before
    assert proposals(storage) == asked


@pytest.mark.parametrize("sampler", ["tpe", "qmc"])
def test_interrupted_after_every_trial_it_proposes_the_same(storage, searched, tmp_path_factory, sampler):
    """A driver a job: the search is rebuilt from its records before each proposal."""
    text = (
        searched.read_text().replace('sampler = "random"', f'sampler = "{sampler}"').replace("epochs = 6", "epochs = 1")
    )
    searched.write_text(text.replace("blocks = 2", "blocks = 1"))

    class Once(Inline):
        def run(self, work):
            if (job := work.suggest()) is not None:
                self._runner(job)
                work.ended(job.trial)

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


def test_repeats_are_answered_and_not_counted_and_an_exhausted_space_is_said(storage, searched):
    text = searched.read_text().replace("training.learning_rate = { low = 1e-3, high = 1e-1, log = true }", "")
    searched.write_text(text)
    display = Silent()
    run(searched, storage, display=display)
    assert Counter(e.plan["stage"] for e in entries(storage)) == {"search": 4, "confirm": 4}
    assert len(display.sentences) == 2
    assert "after 2 trials" in display.sentences[0]
    for records in proposals(storage).values():
        assert [record["number"] for record in records] == list(range(len(records)))


def test_a_trial_that_another_study_has_trained_is_copied(storage, searched):
    run(searched, storage)
    again = searched.read_text().replace('name = "small"', 'name = "again"').replace("blocks = 2", "blocks = 3")
    searched.write_text(again)
    ended = run(searched, storage)
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


def test_other_traces_are_not_reused(storage, searched):
    run(searched, storage)
    searched.write_text(searched.read_text().replace('name = "small"', 'name = "again"') + "\n[traces]\nevery = 3\n")
    assert not run(searched, storage).reused


def test_what_a_driver_decided_before_it_was_killed_is_carried_out(storage, searched):
    class Killed(Inline):
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
        run(searched, storage, Killed())
    (decision,) = storage.glob("small/trials/*/decisions/*.json")
    trial = decision.parent.parent
    assert not (trial / "outcome.json").exists()
    attempts = list((trial / "attempts").iterdir())
    run(searched, storage)
    assert json.loads((trial / "outcome.json").read_text())["state"] == "pruned"
    assert list((trial / "attempts").iterdir()) == attempts, "it was not begun again"


def test_sequential_allocation_adds_whole_blocks_until_the_difference_is_known(storage, study_file):
    text = study_file.read_text().replace("[0, 1]", "[0, 1, 2]").replace("epochs = 6", "epochs = 2")
    more = '\nallocate = "sequential"\nprecision = 1e-9\nmax_blocks = 5\nreplicates = 1'
    study_file.write_text(text.replace("\nreplicates = 1", more))
    ended = run(study_file, storage)
    assert ended.states == {State.COMPLETE: 15}, "no precision is reached, so the budget ends it"
    study_file.write_text(study_file.read_text().replace("1e-9", "1e9").replace('"small"', '"loose"'))
    assert run(study_file, storage).states == {State.COMPLETE: 9}


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


def test_a_trial_that_runs_out_of_memory_goes_on_in_halves(storage, searched, monkeypatch):
    real = worker.train

    def hungry(trial, reference, recorder, *, parts, **options):
        if parts == 1 and trial.configuration.training.batch_size > 2:
            raise MemoryError("expected less")
        return real(trial, reference, recorder, parts=parts, **options)

    monkeypatch.setattr(worker, "train", hungry)
    run(searched, storage)
    parts = {e.id: [begin["parts"] for begin in e.begins] for e in entries(storage)}
    for entry in entries(storage):
        large = entry.trial.configuration.training.batch_size > 2
        assert parts[entry.id] == ([1, 2] if large else [1])
        assert entry.state in (State.COMPLETE, State.PRUNED)


def test_memory_that_is_too_small_for_halves_fails_the_trial(storage, study_file, monkeypatch):
    def hungry(*_, **__):
        raise MemoryError("expected less")

    monkeypatch.setattr(worker, "train", hungry)
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


def test_an_arm_whose_search_fails_is_not_confirmed_and_the_others_are(storage, searched, monkeypatch):
    real = worker.train

    def fragile(trial, *arguments, **options):
        if "1o" in trial.configuration.network.hidden.irreps:
            raise RuntimeError("no vectors today")
        return real(trial, *arguments, **options)

    monkeypatch.setattr(worker, "train", fragile)
    display = Silent()
    ended = run(searched, storage, display=display)
    assert ended.states[State.FAILED] == 6
    assert ended.states[State.PLANNED] == 0
    assert display.sentences == ["arm 'lmax=1' is not confirmed: no trial of its search was completed"]
    assert Counter(e.plan["arm"] for e in entries(storage) if e.plan["stage"] == "confirm") == {"lmax=0": 2}
