"""Several independent searches in each arm, end to end: what is theirs alone, what is confirmed, kills, old studies."""

import hashlib
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import optuna
import polars as pl
import pytest

from tesseral.analysis.figures.curve_figures import search_figures
from tesseral.analysis.report.findings import limits
from tesseral.analysis.report.notes import notes
from tesseral.analysis.report.report import report
from tesseral.analysis.statistics.progress import state_counts
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.open import open_study
from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.campaign.driver import run_study
from tesseral.cluster.campaign.mirror import Mirror
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.planning.plan import prepare
from tesseral.models.data.split import Split, split_structures
from tesseral.models.training import training
from tesseral.study.configuration.trial import State
from tesseral.study.design.stages import search_folder, search_seeds
from tesseral.study.errors import StudyFileError
from tesseral.study.records.ledger import Entry, Ledger
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.command_line import tesseral
from tests.support.report_page import cells, words
from tests.support.water_study import search_of_rates, water_study

SEARCH = search_of_rates(7, repeats=3)
"""Searches of 3, 2 and 2 proposals in each of two arms."""
ARMS = ("lmax=0", "lmax=1")
SHARES = (3, 2, 2)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def searched(study_file) -> Path:
    """Two arms, three searches in each, then four blocks: block 3 has the setting of search 0 again."""
    study_file.write_text(water_study("small", blocks=4, epochs=2) + SEARCH)
    return study_file


class Once(InlineExecutor):
    """One job, and then the driver ends."""

    def run(self, work):
        if (job := work.suggest()) is not None:
            self._runner(job)
            work.ended(job.trial)


def run(study_file: Path, storage: Path, executor=None, display=None):
    return run_study(prepare(study_file, storage), executor or InlineExecutor(), display or Silent())


def entries(storage: Path) -> list[Entry]:
    return Ledger(Store(storage / "small")).entries()


def by_search(storage: Path) -> dict[tuple[str, int], list[Entry]]:
    """(Arm, number of its search) → the search's trials, in the order of their proposals."""
    found = defaultdict(list)
    for entry in entries(storage):
        if entry.plan["stage"] == "search":
            found[entry.plan["arm"], entry.plan["block"]].append(entry)
    return {search: sorted(own, key=lambda e: e.plan["proposal"]) for search, own in sorted(found.items())}


def records(storage: Path) -> dict[str, dict]:
    """Path → record of the search, without the number of the lease and so without its checksum."""
    found = {path: json.loads(path.read_text()) for path in storage.glob("small/search/*/*.json")}
    return {
        f"{path.parent.name}/{path.name}": {k: v for k, v in record.items() if k not in ("lease", "sha256")}
        for path, record in sorted(found.items())
    }


def elsewhere(storage: Path, factory) -> Path:
    other = factory.mktemp("other")
    (other / "reference").symlink_to(storage / "reference")
    return other


def test_searches_are_apart_and_each_confirms_its_own_blocks(storage, searched):
    mirror = f"sqlite:///{storage / 'mirror.db'}"
    ended = run_study(prepare(searched, storage), InlineExecutor(), Silent(), mirror=Mirror(mirror, "small"))
    assert {*optuna.get_all_study_names(mirror)} == {f"small/{arm}/{repeat}" for arm in ARMS for repeat in range(3)}
    assert ended.states.total() == 2 * (7 + 4)
    assert ended.states[State.PRUNED] > 0
    found = by_search(storage)
    assert {search: len(own) for search, own in found.items()} == {(a, r): SHARES[r] for a in ARMS for r in range(3)}
    study = Study.load(searched)
    for (label, repeat), own in found.items():
        (arm,) = [arm for arm in study.arms if arm.label == label]
        assert {entry.trial.seeds for entry in own} == {search_seeds(0, repeat=repeat, held=4)}
        folder = storage / "small" / search_folder(arm.key, repeat)
        assert sorted(path.name for path in folder.iterdir()) == [*(f"{n}.json" for n in range(len(own))), "best.json"]
        best = json.loads((folder / "best.json").read_text())
        complete = [entry for entry in own if entry.state == State.COMPLETE]
        lowest = min(complete, key=lambda entry: entry.outcome["metrics"]["validation.l2_error"])
        assert (best["trial"], best["trials"]) == (lowest.id, SHARES[repeat])
        confirmed = [e for e in entries(storage) if (e.plan["arm"], e.plan["stage"]) == (label, "confirm")]
        blocks = {e.plan["block"]: e for e in confirmed}
        assert sorted(blocks) == [0, 1, 2, 3]
        for block in range(repeat, 4, 3):
            assert blocks[block].trial.configuration == lowest.trial.configuration
        # The first at a rung always continues, and so does the best: so every search has a complete trial.
        assert all(entry.state == State.COMPLETE for entry in own[:1])
    splits = {(e.plan["stage"], e.plan["block"]): e.trial.seeds.split for e in entries(storage)}
    assert len(set(splits.values())) == 3 + 4, "no search shares its split with another, or with a block"
    drawn = {search: [json.dumps(entry.plan["settings"]) for entry in own] for search, own in found.items()}
    assert len({text for own in drawn.values() for text in own}) == 7, "each repeat draws its own proposals"
    assert all(drawn[ARMS[0], repeat] == drawn[ARMS[1], repeat] for repeat in range(3)), "in all arms the same"


def test_what_is_told_of_them(storage, searched):
    shown = " ".join(tesseral("plan", searched, "--storage", storage).stdout.split())
    assert "after 3 searches of 2 or 3 trials an arm (random; ASHA, rungs at epochs 1)" in shown
    assert "the 7 search trials of an arm are shared out among 3 independent searches of 2 or 3" in shown
    assert json.loads(tesseral("plan", searched, "--storage", storage, "--json").stdout)["search"]["repeats"] == 3
    run(searched, storage)
    tables = open_study(storage, "small")
    assert tables.study.searches == tables.study.search.repeats == 3
    results = analyse(tables)
    assert [(s.arm, s.repeat, s.budget, s.planned, s.proposed, s.repeated) for s in results.searches] == [
        (arm, repeat, share, share, share, 0) for arm in ARMS for repeat, share in enumerate(SHARES)
    ]
    for search in results.searches:
        own = tables.trials.filter(stage="search", arm=search.arm, block=search.repeat)
        assert search.complete + search.pruned == own.height
        assert search.best == own.filter(state="complete")["metric.validation.l2_error"].min()
        assert search.ended == f"its {search.budget} trials are proposed"
    assert results.search_progress.planned == 14
    assert {arm: counts.total() for arm, counts in state_counts(tables)["search"].items()} == dict.fromkeys(ARMS, 7)
    assert notes(tables) == []
    page = report(tables)
    rows = cells(page, "Search")
    assert [(row[0], row[1], row[2]) for row in rows] == [
        (arm, str(repeat), f"{share} of {share}") for arm in ARMS for repeat, share in enumerate(SHARES)
    ]
    text = words(page)
    assert "7 distinct proposals in each arm, shared out among 3 independent searches (2 or 3 each), by" in text
    assert "block b has that of search b mod 3, both counted from 0" in text
    (figure,) = search_figures(tables)
    assert "proposals of each search, of which every arm has 3." in figure.caption
    assert figure.svg.count("lmax=1, search 2") >= 1


def test_killed_after_every_trial_all_searches_propose_the_same(storage, searched, tmp_path_factory):
    text = searched.read_text().replace('"random"', '"tpe"').replace("epochs = 2", "epochs = 1")
    searched.write_text(text.replace("blocks = 4", "blocks = 3"))
    starts = 0
    while run(searched, storage, Once()).states[State.PLANNED]:
        starts += 1
        assert starts < 30
    other = elsewhere(storage, tmp_path_factory)
    run(searched, other)
    assert {e.id: e.state for e in entries(storage)} == {e.id: e.state for e in entries(other)}
    assert records(storage) == records(other)
    before = records(storage)
    assert run(searched, storage, Once()).states == {State.COMPLETE: 2 * (7 + 3)}
    assert records(storage) == before


@pytest.mark.long
def test_two_workers_of_ray_come_to_the_same_records(storage, searched, tmp_path_factory):
    """Without early stopping, which compares what has come so far."""
    text = searched.read_text().replace("[search.asha]\nmin_epochs = 1\nreduction = 2\n", "")
    searched.write_text(text.replace("epochs = 2", "epochs = 1").replace("blocks = 4", "blocks = 3"))
    command = [sys.executable, "-m", "tesseral.cluster.commands.cli", "run", str(searched), "--storage", str(storage)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    other = elsewhere(storage, tmp_path_factory)
    run(searched, other)
    assert {e.id: e.state for e in entries(storage)} == {e.id: e.state for e in entries(other)}
    assert records(storage) == records(other)


def freeze_as_then(storage: Path, text: str) -> None:
    """Freeze a study file as versions without repeats and hold-outs did."""
    frozen = storage / "small" / "study.toml"
    frozen.parent.mkdir()
    frozen.write_text(f"{text}\n# sha256 {hashlib.sha256(text.encode()).hexdigest()}\n")


def splits(storage: Path, stage: str) -> list[Split]:
    """The split of each trial of a stage, drawn again from its seeds."""
    rows = range(14)
    return [
        split_structures(trial.configuration.data, rows, trial.seeds.split, holdout=trial.seeds.holdout)
        for trial in (entry.trial for entry in entries(storage) if entry.plan["stage"] == stage)
    ]


def test_no_search_sees_what_its_study_is_judged_on(storage, searched):
    """Eleven of the fourteen structures would be left for the searches, so five are held out and three tested."""
    searched.write_text(searched.read_text().replace("train = 8", "train = 7").replace("test = 4", "test = 3"))
    shown = " ".join(tesseral("plan", searched, "--storage", storage).stdout.split())
    assert "a hold-out of 5 structures of reference/water_tiny.parquet is kept from every search" in shown
    run(searched, storage)
    tested = {index for split in splits(storage, "confirm") for index in split.test}
    seen = {index for split in splits(storage, "search") for index in (*split.train, *split.validation)}
    assert len(tested) > 3, "blocks test different structures"
    assert len(tested) <= 5
    assert not tested & seen
    tables = open_study(storage, "small")
    assert (tables.study.held, tables.study.holds_out) == ((5,), True)
    assert tables.study.overlaps == dict.fromkeys(ARMS, 3 / (5 - 3))
    told = "No search saw the hold-out of 5 structures, from which all test splits are drawn."
    assert told in limits(analyse(tables))
    assert all(entry.trial.seeds.holdout.size == 5 for entry in entries(storage))


def test_a_study_of_a_time_without_hold_outs_goes_on_as_it_was(storage, searched):
    searched.write_text(searched.read_text().replace("epochs = 2", "epochs = 1"))
    text = searched.read_text()
    frozen = storage / "small" / "study.toml"
    frozen.parent.mkdir()
    body = f"{text}\n# search.repeats = 3\n"
    frozen.write_text(f"{body}\n# sha256 {hashlib.sha256(body.encode()).hexdigest()}\n")
    run(searched, storage)
    assert {entry.trial.seeds.holdout for entry in entries(storage)} == {None}
    assert {entry.trial.seeds for entry in by_search(storage)["lmax=0", 1]} == {search_seeds(0, repeat=1)}
    tables = open_study(storage, "small")
    assert tables.study.overlaps == dict.fromkeys(ARMS, 4 / 8)
    assert any("may have seen structures that arms are tested on" in sentence for sentence in limits(analyse(tables)))


def test_a_study_of_a_time_without_repeats_goes_on_with_its_one_search(storage, searched):
    """By default it would have three searches of four. What it had begun is known, and nothing is searched twice."""
    written = searched.read_text().replace("trials = 7\nrepeats = 3", "trials = 12").replace("epochs = 2", "epochs = 1")
    searched.write_text(written)
    freeze_as_then(storage, written)
    for _ in range(5):
        run(searched, storage, Once())
    assert Study.load(searched).repeats == 3
    assert prepare(searched, storage).study.repeats == 1
    assert open_study(storage, "small").study.searches == 1
    assert run(searched, storage).states == {State.COMPLETE: 2 * (12 + 4)}
    assert {path.name for path in (storage / "small" / "search").iterdir()} == {
        arm.key for arm in Study.load(searched).arms
    }
    searched.write_text(written.replace("trials = 12", "trials = 12\nrepeats = 2"))
    with pytest.raises(StudyFileError, match=r"started with other settings: search\.repeats is 2 and was 1"):
        run(searched, storage)


def test_a_search_that_finds_nothing_leaves_out_its_blocks_alone(storage, searched, monkeypatch):
    real, lost = training.train, search_seeds(0, repeat=1).split

    def fragile(trial, *arguments, **options):
        if trial.seeds.split == lost and "1o" in trial.configuration.network.hidden.irreps:
            raise RuntimeError("no vectors on this split")
        return real(trial, *arguments, **options)

    monkeypatch.setattr(training, "train", fragile)
    searched.write_text(searched.read_text().replace("blocks = 4", "blocks = 5"))
    display = Silent()
    ended = run(searched, storage, display=display)
    assert ended.states[State.FAILED] == 2
    assert ended.states[State.PLANNED] == 0
    sentence = "is not confirmed in block 1 and every 3 blocks after it"
    assert display.sentences == [f"arm 'lmax=1' {sentence}: no trial of its search 1 was completed"]
    tables = open_study(storage, "small")
    confirmed = tables.trials.filter(pl.col("stage") == "confirm")
    blocks = {arm: confirmed.filter(pl.col("arm") == arm)["block"].sort().to_list() for arm in ARMS}
    assert blocks == {"lmax=0": [0, 1, 2, 3, 4], "lmax=1": [0, 2, 3]}
    assert notes(tables) == [f"lmax=1 {sentence}, because no trial of its search 1 was completed."]
    assert {arm: counts.total() for arm, counts in state_counts(tables)["confirm"].items()} == {
        "lmax=0": 5,
        "lmax=1": 3,
    }
    assert Counter(search.best is None for search in analyse(tables).searches) == {False: 5, True: 1}
