"""The trials that count: those of arms that were not dropped, as these arms share them."""

from dataclasses import replace

from tesseral.study.records.counted import counted, of_arms
from tesseral.study.records.growth import drop
from tesseral.study.records.ledger import Entry
from tesseral.study.study import Study
from tests.support.mistakes import STUDY

ALONE = Entry("1", {"arm": "a", "stage": "confirm"}, (), None)
SHARED = Entry("2", {"arm": "b", "stage": "confirm"}, (), None, ({"arm": "a"}, {"arm": "c"}))


def arms(entries: list[Entry]) -> list[list[str]]:
    return [[plan["arm"] for plan in entry.plans] for entry in entries]


def test_a_trial_is_that_of_the_arms_that_are_asked_for():
    assert arms(of_arms([ALONE, SHARED], {"a", "b", "c"})) == [["a"], ["b", "a", "c"]]
    assert arms(of_arms([ALONE, SHARED], {"c"})) == [["c"]]
    (entry,) = of_arms([SHARED], {"a"})
    assert (entry.id, entry.plan, entry.others) == ("2", {"arm": "a", "stage": "confirm"}, ())


def test_trials_of_a_dropped_arm_count_no_more(store):
    assert arms(counted(store, [ALONE, SHARED])) == [["a"], ["b", "a", "c"]]
    drop(store, replace(Study.parse(STUDY, "").arms[0], labels=("a",)), 1)
    assert arms(counted(store, [ALONE, SHARED])) == [["b", "c"]]
