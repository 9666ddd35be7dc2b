"""Records are read whole, once and lazily, and what cannot be read is named."""

import warnings

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tesseral.analysis.tables.load import load
from tesseral.analysis.tables.open import read_study
from tesseral.study.configuration.trial import State
from tesseral.study.design.stages import PlannedTrial, confirm_seeds, make_trial
from tesseral.study.records.attempt import Attempt
from tesseral.study.records.ledger import freeze, write_plan
from tesseral.study.records.schemas import CURVES, TRACES, TRIALS, to_table
from tesseral.study.records.segments import Source, encode
from tesseral.study.study import Study
from tests.support.synthetic_study import info, table, trial_row, trial_rows

STUDY = """
[study]
name = "small"
metric = "l2_error"

[factors]
network.hidden.lmax = [0, 1]

[data]
reference = "reference/none.parquet"
train = 8
validation = 2
test = 4
"""


def curve(trial, steps, value=1.0):
    rows = [{"trial": trial, "step": s, "epoch": s, "split": "train", "metric": "loss", "value": value} for s in steps]
    return to_table(rows, CURVES)


def seal(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)
    return str(path)


def curves_of(sources):
    return load(table(trial_rows()), sources, [], info())


def test_bounds_cut_superseded_rows(tmp_path):
    first = Source(seal(tmp_path / "trial=a" / "1-50.parquet", curve("a", range(51), 1.0)), "a", 30)
    second = Source(seal(tmp_path / "trial=a" / "2-60.parquet", curve("a", range(30, 61), 2.0)), "a", None)
    other = Source(seal(tmp_path / "trial=b" / "1-all.parquet", curve("b", range(5), 3.0)), "b", None)
    tables = curves_of([first, second, other])
    assert isinstance(tables.curves, pl.LazyFrame)
    rows = tables.curves.sort("trial", "step").collect()
    assert rows["step"].to_list() == [*range(61), *range(5)]
    assert rows.filter(pl.col("trial") == "a")["value"].to_list() == [1.0] * 30 + [2.0] * 31


def test_a_store_is_read_wherever_it_is(store):
    """On a local disk and on S3: bounded, torn and lost files among those that count."""
    store.create("curves/trial=a/1-9.parquet", encode(curve("a", range(10))))
    store.create("curves/trial=b/1-all.parquet", encode(curve("b", range(5))))
    store.create("curves/trial=c/1-9.parquet", b"PAR1 torn")
    bounds = {"a/1-9": 4, "b/1-all": None, "c/1-9": None, "d/1-all": None}
    sources = [Source(store.location(f"curves/trial={name}.parquet"), name[0], below) for name, below in bounds.items()]
    with pytest.warns(UserWarning, match="is left out"):
        tables = curves_of(sources)
    assert [sentence.split("trial=")[1][0] for sentence in tables.left_out] == ["c", "d"]
    assert tables.curves.collect()["step"].to_list() == [*range(5), *range(4)]  # whole files come first


@pytest.mark.parametrize("below", [None, 7])
def test_a_segment_that_vanishes_is_never_a_hole(store, below):
    """Neither before its footer is read nor after: its rows are in another file by now."""
    store.create("1-9.parquet", encode(curve("a", range(10))))
    sources = [Source(store.location("1-9.parquet"), "a", below)]
    tables = curves_of(sources)
    store.delete(["1-9.parquet"])
    with pytest.raises(FileNotFoundError, match=r"1-9\.parquet"):
        tables.curves.collect()
    with pytest.raises(FileNotFoundError, match=r"1-9\.parquet"):
        curves_of(sources)


@pytest.fixture
def running(store):
    """An attempt that is at work on the only trial that is planned yet, ten rows of its curves sealed."""
    study = Study.parse(STUDY, "small.toml")
    folder = store.child("small")
    freeze(folder, study)
    arm = study.arms[0]
    seeds, hashes = confirm_seeds(study.file.study.seed, 0, 0), {"reference/none.parquet": "d" * 64}
    trial = PlannedTrial(make_trial(arm.configuration, seeds, hashes, 1), arm, "confirm", 0, 0)
    write_plan(folder, trial, "small")
    attempt = Attempt.begin(folder, trial.trial.id, 0, {}, seal_every=0.0, checkpoint_every=1e9)
    attempt.curves([{"step": k, "epoch": k, "split": "train", "metric": "loss", "value": 1.0} for k in range(10)])
    attempt.boundary(9, 100, lambda: b"", {})
    return attempt


def test_a_trial_that_ends_between_listing_and_reading_makes_a_study_be_read_anew(store, running):
    opened = []

    def use(tables):
        opened.append(tables.trials["state"].to_list())
        if len(opened) == 1:
            assert running.finish(State.COMPLETE, 9)  # its segments are compacted and deleted
        return tables.curves.collect()

    assert read_study(store.url, "small", use)["step"].to_list() == [*range(10)]
    assert opened == [["running"], ["complete"]]


def test_files_that_vanish_at_each_reading_are_an_error(store, running):
    readings = []

    def use(tables):
        readings.append(tables)
        raise FileNotFoundError("1-9.parquet")

    with pytest.raises(FileNotFoundError, match=r"1-9\.parquet"):
        read_study(store.url, "small", use)
    assert len(readings) == 5


def test_a_file_listed_twice_counts_once_and_below_the_lower_bound(tmp_path):
    path = seal(tmp_path / "1-9.parquet", curve("a", range(10)))
    assert curves_of([Source(path, "a", None)] * 2).curves.collect().height == 10
    bounds = (None, 7, 4)
    assert curves_of([Source(path, "a", below) for below in bounds]).curves.collect()["step"].max() == 3


def test_no_files_are_empty_tables_of_the_right_columns():
    tables = load(table([]), [], [], info())
    for frame, schema in ((tables.curves, CURVES), (tables.traces, TRACES), (tables.trials.lazy(), TRIALS)):
        assert frame.collect().height == 0
        assert set(schema.names) <= set(frame.collect_schema().names())
    assert tables.traces.collect_schema()["l"] == pl.Int8


def test_unreadable_files_are_named_and_left_out(tmp_path):
    good = seal(tmp_path / "1-9.parquet", curve("a", range(10)))
    whole = (tmp_path / "1-9.parquet").read_bytes()
    (tmp_path / "torn.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.parquet").write_bytes(b"")
    seal(tmp_path / "foreign.parquet", pa.table({"trial": ["x"], "value": [1]}))
    seal(tmp_path / "traces.parquet", TRACES.empty_table())
    newer = curve("a", [1]).replace_schema_metadata({"tesseral.table": "curves", "tesseral.version": "99"})
    seal(tmp_path / "newer.parquet", newer)
    reasons = {
        "torn": "not a readable Parquet file",
        "empty": "not a readable Parquet file",
        "foreign": "got a file that tesseral did not write",
        "traces": "got table 'traces' of version 1",
        "newer": "got table 'curves' of version 99",
        "1-all": "the trial's outcome names it, but it is missing; remove outcome.json of that trial and run the",
        "2-all": "something that is no file has its place; move it away, remove outcome.json of that trial and run",
    }
    (tmp_path / "2-all.parquet").mkdir()
    sources = [Source(str(tmp_path / f"{name}.parquet"), "a", None) for name in reasons]
    with pytest.warns(UserWarning) as caught:  # noqa: PT030 - each message is checked below
        tables = curves_of([*sources, Source(good, "a", None)])
    assert tables.curves.collect().height == 10
    assert tables.left_out == tuple(str(w.message) for w in caught)
    for sentence, (name, reason) in zip(tables.left_out, reasons.items(), strict=True):
        assert f"{name}.parquet is left out" in sentence
        assert reason in sentence


def test_columns_may_be_missing_or_more(tmp_path):
    older = curve("a", range(3)).drop_columns(["l"])
    newer = curve("b", range(2)).append_column("later", pa.array(["x", "y"]))
    sources = [
        Source(seal(tmp_path / f"{name}.parquet", rows), name, None) for name, rows in (("a", older), ("b", newer))
    ]
    rows = curves_of(sources).curves.collect()
    assert rows.columns == CURVES.names
    assert rows.height == 5
    assert rows["l"].null_count() == 5


def test_names_with_pattern_characters_and_underscores_are_read(tmp_path):
    paths = [
        seal(tmp_path / "trial=[a]*?" / name, curve("a", [k])) for k, name in enumerate(("_1-0.parquet", "1-1.parquet"))
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tables = curves_of([Source(path, "a", None) for path in paths])
    assert sorted(tables.curves.collect()["step"]) == [0, 1]


def test_filters_reach_the_files(tmp_path):
    path = seal(tmp_path / "1-all.parquet", curve("a", range(100)))
    plan = curves_of([Source(path, "a", None)]).curves.filter(pl.col("step") > 50).select("value").explain()
    assert "SELECTION" in plan
    assert "PROJECT 1/7" in plan or "PROJECT 2/7" in plan


def test_trials_have_every_declared_column_and_type():
    short = table(trial_rows()).drop_columns(["peak_memory", "reason"])
    trials = load(short, [], [], info()).trials
    assert trials["peak_memory"].dtype == pl.Int64
    assert trials["reason"].null_count() == 32
    assert trials["metric.test.epsilon"].dtype == pl.Float64
    assert trials["factor.network.hidden.lmax"].n_unique() == 4


def test_tables_are_printed_as_one_line():
    planned = [trial_row(3, 3, 1, state="planned")]
    tables = load(table(trial_rows()[:-1] + planned), [], [], info())
    assert repr(tables) == "StudyTables(hierarchy: 31 of 32 trials complete)"
    assert repr(load(table(trial_rows(blocks=1)), [], [], info())) == "StudyTables(hierarchy: 8 of 32 trials complete)"
