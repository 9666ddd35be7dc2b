"""Attempts: what counts after kills, zombies and superseded leases, whatever the order of events."""

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tesseral.study.configuration.trial import State
from tesseral.study.errors import LeaseLostError, MissingRowsError, RecordError
from tesseral.study.records.attempt import LOSSES, Attempt, checkpoints
from tesseral.study.records.outcome import sweep
from tesseral.study.records.rungs import prune, read_rungs, seal_pruning
from tesseral.study.records.schemas import CURVES
from tesseral.study.records.segments import (
    TABLES,
    Begin,
    counting,
    decode,
    encode,
    named,
    read_begins,
    read_counting,
    rows_to_table,
    tile,
)
from tesseral.study.records.store import Store

TRIAL = "f" * 64


def row(step: int) -> dict:
    return {"step": step, "epoch": step, "split": "train", "metric": "loss", "l": None, "value": float(step)}


def begin(store: Store, lease: int = 1) -> Attempt:
    attempt = Attempt.begin(store, TRIAL, lease, {"host": "here"}, seal_every=0.0, checkpoint_every=1e9)
    assert attempt is not None
    return attempt


def train(attempt: Attempt, steps: range, checkpoints: frozenset[int] = frozenset()) -> None:
    for step in steps:
        attempt.checkpoint_every = 0.0 if step in checkpoints else 1e9
        attempt.curves([row(step)])
        attempt.boundary(step, 100, lambda step=step: str(step).encode(), {})


def outcome(store: Store) -> dict:
    return json.loads(store.read(f"trials/{TRIAL}/outcome.json"))


def names(paths) -> list[str]:
    """Paths without the hashes in them."""
    return [re.sub(r"-[0-9a-f]{16}", "", path) for path in paths]


def live_steps(store: Store) -> list[int]:
    """The steps that a reader sees while the trial runs."""
    sources, _ = tile(store.paths(f"curves/trial={TRIAL}"), TRIAL, read_begins(store, TRIAL))
    return read_counting(store, sources, CURVES)["step"].to_pylist()


def final_steps(store: Store) -> list[int]:
    (path,) = (path for path in outcome(store)["files"] if path.startswith("curves/"))
    return decode(store.read(path), CURVES)["step"].to_pylist()


def test_one_attempt(store):
    attempt = begin(store)
    assert (attempt.number, attempt.start, attempt.checkpoint) == (1, 0, None)
    train(attempt, range(5))
    assert attempt.finish(State.COMPLETE, 4, metrics={"test.mse": 1.0})
    assert final_steps(store) == [0, 1, 2, 3, 4]
    assert names(outcome(store)["files"]) == [f"{table}/trial={TRIAL}/1-0-4-all.parquet" for table in TABLES]
    assert list(outcome(store)["files"].values()) == [5, 0]
    assert [*store.paths("curves"), *store.paths("traces")] == list(outcome(store)["files"])
    assert Attempt.begin(store, TRIAL, 1, {}) is None


def test_what_was_trained_is_kept_and_named(store):
    train(begin(store), range(101), checkpoints=frozenset({40}))  # to the end, and killed before the outcome
    second = begin(store)
    assert (second.start, second.checkpoint) == (101, b"100")
    second.finish(State.COMPLETE, 100)
    assert names([outcome(store)["checkpoint"]]) == [f"trials/{TRIAL}/checkpoint/1-100"]
    assert store.paths(f"trials/{TRIAL}/checkpoint") == [outcome(store)["checkpoint"]]
    assert final_steps(store) == list(range(101))


def test_a_killed_attempt_goes_on_from_its_checkpoint(store):
    train(begin(store), range(8), checkpoints=frozenset({3, 5}))  # and then the worker is killed
    second = begin(store)
    assert (second.number, second.start, second.checkpoint) == (2, 6, b"5")
    train(second, range(6, 10))
    second.finish(State.COMPLETE, 9)
    assert final_steps(store) == list(range(10))
    assert outcome(store)["attempts"] == 2


def test_a_zombie_changes_nothing(store):
    zombie = begin(store)
    train(zombie, range(4), checkpoints=frozenset({2}))
    second = begin(store)
    with pytest.raises(LeaseLostError):  # thought dead, it writes on until it would keep a checkpoint
        train(zombie, range(4, 9), checkpoints=frozenset({6}))
    store.create(f"trials/{TRIAL}/checkpoint/1-6", b"or even keeps it, if it looked a moment before")
    train(second, range(3, 5))
    third = begin(store)
    assert third.start == 3, "the zombie's checkpoint at step 6 must not count"
    train(third, range(3, 10))
    third.finish(State.COMPLETE, 9)
    assert final_steps(store) == list(range(10))
    with pytest.raises(LeaseLostError):
        zombie.finish(State.COMPLETE, 9)
    assert outcome(store)["attempt"] == 3


def test_a_zombie_that_ends_first_seals_nothing(store):
    zombie = begin(store)
    train(zombie, range(4), checkpoints=frozenset({2}))
    second = begin(store)
    with pytest.raises(LeaseLostError, match="followed by another"):
        zombie.finish(State.FAILED, 3, reason="it lost its machine")
    train(second, range(3, 10))
    assert second.finish(State.COMPLETE, 9)
    assert final_steps(store) == list(range(10))


def test_what_a_superseded_lease_begins_does_not_count(store):
    store.create("lease/1/0", b"{}")
    train(begin(store, lease=1), range(3), checkpoints=frozenset({2}))
    store.create("lease/2/0", b"{}")
    newer = begin(store, lease=2)
    assert Attempt.begin(store, TRIAL, 1, {}) is None
    # Or its driver looked a moment before: all that it then writes must change nothing.
    stale = {"attempt": 3, "lease": 1, "start": 3, "began": "2026-01-01"}
    store.create(f"trials/{TRIAL}/attempts/3.json", json.dumps(stale).encode())
    table = rows_to_table([row(step) for step in range(3, 8)], TRIAL, CURVES)
    store.create(f"curves/trial={TRIAL}/3-7.parquet", encode(table))
    store.create(f"trials/{TRIAL}/checkpoint/3-7", b"stale")
    assert checkpoints(store, TRIAL, read_begins(store, TRIAL))[-1][0] == 2
    train(newer, range(3, 6), checkpoints=frozenset({4}))
    assert newer.finish(State.COMPLETE, 5)
    assert final_steps(store) == list(range(6))


def test_a_worker_of_a_superseded_driver_ends_nothing(store):
    old = begin(store, lease=1)
    train(old, range(3))
    store.create("lease/2/0", b"{}")
    with pytest.raises(LeaseLostError, match="superseded"):
        old.finish(State.COMPLETE, 2)
    assert store.read(f"trials/{TRIAL}/outcome.json") is None


def test_torn_records_are_named_and_left_out(store):
    train(begin(store), range(4), checkpoints=frozenset({2}))
    store.replace(f"trials/{TRIAL}/attempts/1.json", b'{"attempt": 1, "le')
    with pytest.warns(UserWarning, match=r"attempts/1.json is damaged: it is torn"):
        second = begin(store)
    assert (second.number, second.start) == (2, 0), "its number is taken, its checkpoint is nobody's"


def test_a_damaged_segment_is_named_and_its_rows_are_trained_again(store):
    attempt = begin(store)
    train(attempt, range(4), checkpoints=frozenset({1, 3}))
    (path,) = (path for path in store.paths("curves") if "/1-3-3-" in path)
    store.replace(path, b"PAR1 and then nothing")
    with pytest.raises(RecordError, match="does not match the hash in its name"):
        attempt.finish(State.COMPLETE, 3)
    with pytest.warns(UserWarning, match=r"1-3-3-.*is trained again|1-3-.* is passed over: rows .* curves from step 3"):
        second = begin(store)
    assert (second.start, second.checkpoint) == (2, b"1"), "from the checkpoint before it"
    train(second, range(2, 5))
    second.finish(State.COMPLETE, 4)
    assert final_steps(store) == list(range(5))


def test_a_segment_that_is_gone_is_missed(store):
    attempt = begin(store)
    train(attempt, range(4), checkpoints=frozenset({3}))
    store.delete([path for path in store.paths("curves") if "/1-1-1-" in path])
    with pytest.raises(MissingRowsError, match="lacks rows from step 1"):
        attempt.finish(State.COMPLETE, 3)
    assert store.read(f"trials/{TRIAL}/outcome.json") is None
    with pytest.warns(UserWarning, match="passed over: rows before it are missing"):
        second = begin(store)
    assert second.start == 0
    train(second, range(4))
    second.finish(State.COMPLETE, 3)
    assert final_steps(store) == list(range(4))


def test_a_segment_of_another_trial_is_no_part_of_this_one(store):
    attempt = begin(store)
    train(attempt, range(4))
    table = rows_to_table([row(1)], "e" * 64, CURVES)
    (path,) = (path for path in store.paths("curves") if "/1-1-1-" in path)
    store.delete([path])
    store.create(f"curves/trial={TRIAL}/{named('1-1-1', encode(table), '.parquet')}", encode(table))
    with pytest.raises(RecordError, match="rows of another trial"):
        attempt.finish(State.COMPLETE, 3)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(store):
    train(begin(store), range(8), checkpoints=frozenset({1, 3, 5}))
    assert names(store.paths(f"trials/{TRIAL}/checkpoint")) == [
        f"trials/{TRIAL}/checkpoint/1-{step}" for step in (3, 5)
    ]
    (path,) = (path for path in store.paths(f"trials/{TRIAL}/checkpoint") if "/1-5-" in path)
    store.replace(path, b"4")
    with pytest.warns(UserWarning, match="is damaged: its hash does not match; an earlier one is used"):
        second = begin(store)
    assert (second.start, second.checkpoint) == (4, b"3")
    train(second, range(4, 8))
    second.finish(State.COMPLETE, 7)
    assert final_steps(store) == list(range(8))


def test_attempts_that_were_deleted_leave_nothing_that_counts_twice(store):
    train(begin(store), range(8), checkpoints=frozenset({3}))
    store.delete(store.paths(f"trials/{TRIAL}"))
    second = begin(store)
    assert (second.number, second.start) == (2, 0)
    second.seal_every = 1e9
    train(second, range(8))
    second.finish(State.COMPLETE, 7)
    assert final_steps(store) == list(range(8))


def test_a_deleted_outcome_is_recovered_from_the_compacted_rows(store):
    first = begin(store)
    train(first, range(101))
    first.finish(State.COMPLETE, 100, metrics={"test.mse": 1.0})
    files = outcome(store)["files"]
    store.delete([f"trials/{TRIAL}/outcome.json"])
    second = begin(store)
    assert second.start == 101
    second.finish(State.COMPLETE, 100, metrics={"test.mse": 1.0})
    assert final_steps(store) == list(range(101))
    hashes = [[re.findall(r"-([0-9a-f]{16})", path) for path in tree] for tree in (files, outcome(store)["files"])]
    assert hashes[0] == hashes[1], "the same rows"


def test_a_missing_rung_is_named(store):
    climb(rung(store), range(5))
    attempt = rung(store)
    attempt.checkpoint_every = 0.0
    climb(attempt, range(5))
    store.delete([f"trials/{TRIAL}/rungs/1.json"])
    with pytest.raises(RecordError, match=r"rungs/1.json is missing, although the trial went on beyond it; restore it"):
        rung(store)


def test_a_complete_trial_has_rows(store):
    with pytest.raises(MissingRowsError, match="expected learning curves"):
        begin(store).finish(State.COMPLETE, 3)


def test_records_of_an_earlier_version_go_on_where_they_ended(store):
    """Their segments state no first step and no hash, their checkpoints no hash, their JSON no checksum."""
    old = {"attempt": 1, "lease": 1, "start": 0, "began": "2026-01-01"}
    store.create(f"trials/{TRIAL}/attempts/1.json", json.dumps(old).encode())
    for low, high in ((0, 2), (3, 4)):
        table = rows_to_table([row(step) for step in range(low, high + 1)], TRIAL, CURVES)
        store.create(f"curves/trial={TRIAL}/1-{high}.parquet", encode(table))
    store.create(f"trials/{TRIAL}/checkpoint/1-2", b"2")
    with pytest.warns(UserWarning, match="of an earlier version have no checksums"):
        second = begin(store)
    assert (second.number, second.start, second.checkpoint) == (2, 3, b"2")
    train(second, range(3, 6), checkpoints=frozenset({4}))
    with pytest.warns(UserWarning, match="no checksums"):
        third = begin(store)
    assert third.start == 5
    train(third, range(5, 8))
    with pytest.warns(UserWarning, match="no checksums"):
        third.finish(State.COMPLETE, 7)
    assert final_steps(store) == list(range(8))


def test_killed_between_compaction_and_outcome(store):
    first = begin(store)
    train(first, range(6), checkpoints=frozenset({4}))
    store.create(f"curves/trial={TRIAL}/1-all.parquet", b"sealed, but no outcome names it")
    second = begin(store)
    train(second, range(5, 6))
    second.finish(State.COMPLETE, 5)
    assert final_steps(store) == list(range(6))
    assert names(store.paths("curves")) == [f"curves/trial={TRIAL}/2-0-5-all.parquet"]


def test_counting_drops_an_older_lease_after_a_newer_one():
    begins = [Begin(1, 1, 0), Begin(2, 2, 5), Begin(3, 1, 9), Begin(4, 2, 7)]
    assert counting(begins) == {1: 5, 2: 7, 4: None}


@settings(max_examples=40, deadline=None)
@given(lives=st.lists(st.tuples(st.integers(1, 12), st.sets(st.integers(0, 30), max_size=4)), max_size=5))
def test_every_step_stands_once_after_any_kills(tmp_path_factory, lives):
    """Each life trains some steps with checkpoints at some of them and is killed; the last one finishes."""
    store = Store(tmp_path_factory.mktemp("study"))
    for lease, (length, kept) in enumerate(lives, start=1):
        attempt = begin(store, lease)
        train(attempt, range(attempt.start, min(attempt.start + length, 30)), frozenset(kept))
    steps = live_steps(store)
    assert steps == list(range(len(steps))), "a reader sees each step once while it runs too"
    last = begin(store, lease=len(lives) + 1)
    train(last, range(last.start, 31))
    last.finish(State.COMPLETE, 30)
    assert final_steps(store) == list(range(31))


def test_foreign_files_among_the_records_change_nothing(store):
    store.create("lease/notes.txt", b"who was this?")
    store.create(f"trials/{TRIAL}/attempts/notes.txt", b"hm")
    store.create(f"trials/{TRIAL}/checkpoint/old", b"hm")
    store.create(f"curves/trial={TRIAL}/mine.parquet", b"hm")
    attempt = begin(store)
    assert (attempt.number, attempt.checkpoint) == (1, None)
    train(attempt, range(3))
    assert attempt.finish(State.COMPLETE, 2)
    assert final_steps(store) == [0, 1, 2]
    assert store.read(f"curves/trial={TRIAL}/mine.parquet") == b"hm", "what is not ours is not deleted"


def rung(store: Store, lease: int = 1, seen: list | None = None, **options) -> Attempt:
    seen = [] if seen is None else seen
    attempt = Attempt.begin(
        store,
        TRIAL,
        lease,
        {},
        seal_every=1e9,
        checkpoint_every=1e9,
        rungs={3: 1, 6: 2},
        objective="validation.mse",
        on_rung=lambda epoch, value: seen.append((epoch, value)),
        **options,
    )
    assert attempt is not None
    return attempt


def climb(attempt: Attempt, steps: range, scale: float = 1.0) -> None:
    for step in steps:
        attempt.curves([row(step)])
        attempt.boundary(step, 100, lambda: b"state", {"validation.mse": scale * step})


def test_a_rung_is_sealed_before_it_is_judged_and_only_once(store):
    seen: list = []
    first = rung(store, seen=seen)
    climb(first, range(5))
    assert seen == [(1, 3.0)]
    assert read_rungs(store, TRIAL) == {1: 3.0}
    assert live_steps(store) == [0, 1, 2, 3], "the rows that led to the value are sealed with it"
    climb(rung(store, seen=seen), range(7), scale=2.0)  # from the start, on a machine that computes otherwise
    assert seen == [(1, 3.0), (1, 3.0), (2, 12.0)]


def test_a_decision_is_carried_out_whoever_sealed_it(store):
    attempt = rung(store)
    climb(attempt, range(9))
    seal_pruning(store, TRIAL, 1, epoch=1, step=3, reason="the last of 3 in its arm after 1 epoch")
    assert Attempt.begin(store, TRIAL, 1, {}) is None, "nobody goes on with it"
    store.create("lease/2/0", b"{}")
    assert not prune(store, TRIAL, 2), "not in passing"
    assert prune(store, TRIAL, 2, adopt=True), "but by a driver that starts"
    assert outcome(store)["state"] == "pruned"
    assert outcome(store)["steps"] == 3
    assert outcome(store)["checkpoint"] is None
    assert final_steps(store) == [0, 1, 2, 3], "what came after the rung does not count"
    assert names(store.paths("curves")) == [f"curves/trial={TRIAL}/1-0-3-all.parquet"]
    with pytest.raises(LeaseLostError):
        attempt.finish(State.COMPLETE, 8)
    assert outcome(store)["state"] == "pruned"


def test_a_stopped_trial_keeps_the_values_and_the_time_of_its_rung(store):
    attempt = rung(store)
    began = time.monotonic()
    attempt._began = began - 20.0  # as if it had opened its data for so long
    climb(attempt, range(6))
    known = json.loads(store.read(f"trials/{TRIAL}/rungs/1.json"))["seconds"]
    assert 20.0 <= known <= 20.0 + time.monotonic() - began
    seal_pruning(store, TRIAL, 1, epoch=1, step=3, reason="behind")
    assert prune(store, TRIAL, 1)
    assert outcome(store)["metrics"] == {"train.loss": 3.0}, "of the rung, not of the steps after it"
    assert outcome(store)["seconds"] == known


def test_what_a_resumed_attempt_took_is_not_known(store):
    train(begin(store), range(3), checkpoints=frozenset({2}))
    climb(rung(store), range(3, 5))
    assert json.loads(store.read(f"trials/{TRIAL}/rungs/1.json"))["seconds"] is None
    seal_pruning(store, TRIAL, 1, epoch=1, step=3, reason="behind")
    assert prune(store, TRIAL, 1)
    assert outcome(store)["seconds"] is None


def test_a_rung_of_before_times_were_kept_is_read(store):
    record = {"epoch": 1, "step": 3, "value": 3.0, "attempt": 1, "lease": 1}
    store.create(f"trials/{TRIAL}/rungs/1.json", json.dumps(record).encode())
    climb(rung(store, seen=(seen := [])), range(5), scale=2.0)
    assert seen == [(1, 3.0)]
    seal_pruning(store, TRIAL, 1, epoch=1, step=3, reason="behind")
    assert prune(store, TRIAL, 1)
    assert outcome(store)["seconds"] is None
    assert outcome(store)["metrics"] == {"train.loss": 3.0}


def test_metrics_that_nobody_told_are_the_last_finite_ones(store):
    attempt = begin(store)
    train(attempt, range(3))
    validation = {"step": 2, "epoch": 2, "split": "validation", "metric": "block_error", "value": 7.0}
    attempt.curves([validation | {"l": 0}, validation | {"l": 1, "value": float("nan")}])
    attempt.curves([row(3) | {"value": float("inf")}])
    attempt.finish(State.FAILED, 3, reason="a bolt of lightning")
    assert outcome(store)["metrics"] == {"train.loss": 2.0, "validation.block_error.l0": 7.0}


def test_a_decision_of_a_superseded_driver_does_not_count_once_the_trial_went_on(store):
    climb(rung(store, lease=1), range(5))
    newer = rung(store, lease=2)
    seal_pruning(store, TRIAL, 1, epoch=1, step=3, reason="too late")
    assert not prune(store, TRIAL, 2)
    assert not prune(store, TRIAL, 2, adopt=True)
    climb(newer, range(9))
    assert newer.finish(State.COMPLETE, 8)
    assert outcome(store)["state"] == "complete"


def test_a_decision_sealed_late_stops_nothing_that_a_new_driver_has_yet_to_begin(store):
    """Its driver was paused between judging and sealing; meanwhile another took over and found nothing to prune."""
    climb(rung(store, lease=1), range(5))
    store.create("lease/2/0", b"{}")
    assert not prune(store, TRIAL, 2, adopt=True)
    seal_pruning(store, TRIAL, 1, epoch=1, step=3, reason="on what was known long ago")
    newer = rung(store, lease=2)
    climb(newer, range(9))
    assert newer.finish(State.COMPLETE, 8)


def test_a_kill_at_a_rung_leaves_a_trial_that_comes_to_it_again(store):
    """The checkpoint follows the judgement: who goes on from beyond a rung was judged there."""

    def killed(epoch: int, value: float) -> None:
        raise KeyboardInterrupt

    first = rung(store)
    first.checkpoint_every, first.on_rung = 0.0, killed
    with pytest.raises(KeyboardInterrupt):
        climb(first, range(5))
    seen: list = []
    again = rung(store, seen=seen)
    assert again.start == 3, "from the checkpoint before the rung, which is at step 3"
    again.checkpoint_every = 0.0
    climb(again, range(3, 5))
    assert seen == [(1, 3.0)]
    assert rung(store).start == 5


def test_rows_of_an_epoch_that_failed_are_kept_wherever_segments_end(store):
    for seal_every in (0.0, 1e9):
        attempt = begin(store)
        attempt.seal_every = seal_every
        train(attempt, range(3))
        attempt.curves([row(4)])
        attempt.finish(State.FAILED, 2, reason="the loss became NaN")
        assert final_steps(store) == [0, 1, 2, 4]
        store.delete(store.paths())


def test_a_storage_that_fails_a_worker_costs_it_no_loss(store):
    """One that lives begins again in the same process; only processes that died are losses."""
    for process in (1, 1, 1, 1, 2, 2):
        assert Attempt.begin(store, TRIAL, 1, {"host": "here", "pid": process}) is not None
    assert Attempt.begin(store, TRIAL, 1, {"host": "here", "pid": 3}) is not None
    assert Attempt.begin(store, TRIAL, 1, {"host": "here", "pid": 3}) is None
    assert outcome(store)["reason"] == "its worker was lost 3 times without a checkpoint in between"


def test_three_losses_without_progress_fail_a_trial(store):
    train(begin(store), range(6), checkpoints=frozenset({2}))
    for _ in range(LOSSES):
        train(begin(store), range(3, 5))
    assert Attempt.begin(store, TRIAL, 1, {}) is None
    assert outcome(store)["state"] == "failed"
    assert outcome(store)["reason"] == "its worker was lost 3 times without a checkpoint in between"
    assert outcome(store)["cause"] == "machine"
    assert final_steps(store) == [0, 1, 2]


def test_losses_are_free_while_checkpoints_advance_and_when_it_was_the_driver(store):
    for step in range(8):
        train(begin(store), range(step, step + 1), checkpoints=frozenset({step}))
    for lease in range(2, 10):
        assert begin(store, lease).start == 8
    last = begin(store, 10)
    train(last, range(8, 10))
    assert last.finish(State.COMPLETE, 9)
    assert final_steps(store) == list(range(10))


def test_parts_are_kept_by_later_attempts(store):
    assert begin(store).parts == 1
    second = Attempt.begin(store, TRIAL, 1, {}, parts=2)
    assert second is not None
    assert begin(store, 2).parts == 2
    assert [one.parts for one in read_begins(store, TRIAL)] == [1, 2, 2]


def old_trial(store: Store, segments: list[tuple[int, int]], files: dict[str, range], step: int | None = None) -> None:
    """An unfinished trial of an earlier version: one attempt, its segments, compacted files, and a checkpoint."""
    begun = {"attempt": 1, "lease": 1, "start": 0, "began": "2026-01-01"}
    store.create(f"trials/{TRIAL}/attempts/1.json", json.dumps(begun).encode())
    for low, high in segments:
        store.create(
            f"curves/trial={TRIAL}/1-{high}.parquet",
            encode(rows_to_table(list(map(row, range(low, high + 1))), TRIAL, CURVES)),
        )
    for name, steps in files.items():
        store.create(f"curves/trial={TRIAL}/{name}", encode(rows_to_table(list(map(row, steps)), TRIAL, CURVES)))
    if step is not None:
        store.create(f"trials/{TRIAL}/checkpoint/1-{step}", str(step).encode())


@pytest.mark.filterwarnings("ignore:records of an earlier version")
@pytest.mark.parametrize("stray", [[], [(0, 2)]], ids=["swept", "one segment left"])
def test_a_deleted_outcome_of_an_earlier_version_is_recovered(store, stray):
    old_trial(store, stray, {"1-all.parquet": range(9)}, step=8)
    attempt = begin(store)
    assert attempt.start == 9
    attempt.finish(State.COMPLETE, 8)
    assert final_steps(store) == list(range(9))


@pytest.mark.filterwarnings("ignore:records of an earlier version")
def test_a_pruned_trial_of_an_earlier_version_keeps_its_rows(store):
    old_trial(store, [], {"1-3-all.parquet": range(4)})
    rung_record = {"epoch": 1, "step": 3, "value": 3.0, "attempt": 1, "lease": 1}
    store.create(f"trials/{TRIAL}/rungs/1.json", json.dumps(rung_record).encode())
    seal_pruning(store, TRIAL, 1, epoch=1, step=3, reason="behind")
    assert prune(store, TRIAL, 2, adopt=True)
    assert final_steps(store) == [0, 1, 2, 3]


@pytest.mark.filterwarnings("ignore:records of an earlier version")
def test_rows_of_an_earlier_version_that_are_gone_seal_no_empty_file(store):
    old_trial(store, [], {}, step=8)
    with pytest.warns(UserWarning, match="rows before it are missing"):
        attempt = begin(store)
    assert attempt.start == 0


def test_a_pruned_trial_whose_rows_are_gone_is_trained_again(store):
    climb(rung(store), range(5))
    seal_pruning(store, TRIAL, 1, epoch=1, step=3, reason="behind")
    store.delete([path for path in store.paths("curves") if "/1-0-3-" in path])
    store.create("lease/2/0", b"{}")
    with pytest.warns(UserWarning, match=r"lacks rows from step 0, .*; the trial is trained again"):
        assert not prune(store, TRIAL, 2, adopt=True)
    again = rung(store, lease=2)
    climb(again, range(5))
    seal_pruning(store, TRIAL, 2, epoch=1, step=3, reason="behind")
    assert prune(store, TRIAL, 2), "though the value is of an attempt whose rows are gone"
    assert final_steps(store) == [0, 1, 2, 3]


def test_what_finished_trials_left_is_kept_while_a_file_of_theirs_is_gone(store):
    attempt = begin(store)
    train(attempt, range(4))
    segments = store.paths("curves")
    kept = {path: store.read(path) for path in segments}
    attempt.finish(State.COMPLETE, 3)
    for path, data in kept.items():
        store.create(path, data)
    ended = outcome(store)
    store.delete([path for path in ended["files"] if path.startswith("curves/")])
    sweep(store, {TRIAL: ended})
    assert store.paths("curves") == segments


def test_attempts_that_failed_count_no_more(store, monkeypatch):
    """Their rows, checkpoints and parts; also where the clearing after the outcome was killed."""
    first = Attempt.begin(store, TRIAL, 1, {"host": "here"}, seal_every=0.0, checkpoint_every=1e9, parts=2)
    train(first, range(6), checkpoints=frozenset({4}))
    with monkeypatch.context() as killed:
        killed.setattr("tesseral.study.records.outcome.clear", lambda store, trial: None)
        first.finish(State.FAILED, 5, reason="no luck", cause="code")
    store.create(f"trials/{TRIAL}/attempts/1.failed.json", store.read(f"trials/{TRIAL}/outcome.json"))
    store.delete([f"trials/{TRIAL}/outcome.json"])
    assert live_steps(store) == []
    with pytest.raises(LeaseLostError):  # it wakes up
        first.finish(State.FAILED, 5, reason="no luck")
    second = begin(store, lease=2)
    assert (second.number, second.start, second.checkpoint, second.parts) == (2, 0, None, 1)
    train(second, range(3), checkpoints=frozenset({1}))
    third = begin(store, lease=2)
    assert (third.number, third.start, third.checkpoint) == (3, 2, b"1")
    train(third, range(2, 5))
    assert live_steps(store) == list(range(5))
    third.finish(State.COMPLETE, 4)
    assert final_steps(store) == list(range(5))
    assert [*store.paths("curves"), *store.paths("traces")] == list(outcome(store)["files"])
