"""The record of a study's growth: the last study file counts, and what is dropped is gone."""

import pytest

from tesseral.study.errors import RecordError, TesseralError
from tesseral.study.records.document import seal
from tesseral.study.records.growth import drop, droppable, grow, keep_holdouts, read_dropped, read_growth, read_holdouts
from tesseral.study.records.ledger import freeze, frozen
from tesseral.study.study import Study
from tests.support.mistakes import STUDY

BEFORE = Study.parse(STUDY, "")


def test_a_study_is_what_it_has_grown_to(store):
    assert read_growth(store) == []
    freeze(store, BEFORE)
    for blocks in (3, 6):
        study = Study.parse(STUDY.replace("blocks = 2", f"blocks = {blocks}"), "")
        grow(store, study, frozen(store), [f"{blocks} blocks"], 10 * blocks)
        assert frozen(store).file.replication.blocks == blocks
    first, second = read_growth(store)
    assert (first["blocks"], first["complete"], first["changes"]) == (2, 30, ["3 blocks"])
    assert (second["blocks"], len(second["arms"])) == (3, 6)
    assert b"blocks = 2" in store.read("study.toml"), "the file of the first start stays"
    store.delete(["grown/1.json"])
    with pytest.raises(RecordError, match="some are missing"):
        frozen(store)


def test_a_dropped_arm_is_gone_and_its_key_cannot_be_taken_twice(store):
    freeze(store, BEFORE)
    arm = droppable(frozen(store), "lmax=2, loss=raw")
    drop(store, arm, 4)
    assert "lmax=2, loss=raw" not in [each.label for each in frozen(store).arms]
    assert len(frozen(store).arms) == 5
    (dropped,) = read_dropped(store)
    assert (dropped["arm"], dropped["complete"]) == ("lmax=2, loss=raw", 4)
    with pytest.raises(TesseralError, match="expected the label of an arm of try, got 'lmax=2, loss=raw'; there are"):
        droppable(frozen(store), "lmax=2, loss=raw")


def test_the_baseline_and_an_arm_that_others_are_matched_to_stay():
    with pytest.raises(TesseralError, match="expected another arm than the baseline 'lmax=0, loss=raw'"):
        droppable(BEFORE, "lmax=0, loss=raw")
    matched = Study.parse(STUDY + '[match]\nby = "parameters"\n', "")
    with pytest.raises(TesseralError, match="not matched to the largest of them"):
        droppable(matched, "lmax=2, loss=raw")
    assert droppable(Study.parse(STUDY + '[match]\nby = "parameters"\nto = 5000\n', ""), "lmax=2, loss=raw")
    named = Study.parse(STUDY + '[match]\nby = "parameters"\nto = "lmax=1, loss=raw"\n', "")
    with pytest.raises(TesseralError, match="another arm than 'lmax=1, loss=raw', to which others are matched"):
        droppable(named, "lmax=1, loss=raw")
    assert droppable(named, "lmax=1, loss=overlap")
    within = '[match]\nby = "parameters"\nto = "lmax=1, loss=raw"\nwithin = ["loss.name"]\n'
    with pytest.raises(TesseralError, match="another arm than 'lmax=1, loss=overlap', to which others are matched"):
        droppable(Study.parse(STUDY + within, ""), "lmax=1, loss=overlap")


def test_hold_outs_are_those_of_the_first_start(store):
    assert read_holdouts(store) == {}
    keep_holdouts(store, {"abc": 12})
    keep_holdouts(store, {"abc": 12, "another": 7})  # data that came with growth
    assert read_holdouts(store) == {"abc": 12, "another": 7}
    with pytest.raises(RecordError, match=r"holdouts/\w{16}\.json was written by another driver"):
        keep_holdouts(store, {"abc": 10})
    assert read_holdouts(store)["abc"] == 12


def test_hold_outs_of_earlier_records_are_read(store):
    """One file for all data; those that come with growth lie beside it."""
    store.create("holdouts.json", seal({"sizes": {"abc": 12}}))
    assert read_holdouts(store) == {"abc": 12}
    keep_holdouts(store, {"abc": 12, "another": 7})
    assert read_holdouts(store) == {"abc": 12, "another": 7}


def test_another_file_beside_the_growth_is_passed_over(store):
    freeze(store, BEFORE)
    store.create("grown/notes.txt", b"ours")
    assert read_growth(store) == []
    assert frozen(store) == BEFORE
