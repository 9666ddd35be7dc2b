"""The planner says which arms' fusion diagrams make the same functions, and says nothing of those that do not."""

import pytest

from tesseral.cluster.planning.forecast import notes
from tesseral.cluster.planning.fusion_notes import fusion_notes
from tesseral.cluster.planning.plan import StudyPlan, plan
from tesseral.study.study import Study
from tests.support.water_study import water_study

TOPOLOGIES = ["((centre neighbours) edges)", "((edges neighbours) centre)"]


def planned(tmp_path, diagrams: list[str], bounds: str, more: str = "") -> StudyPlan:
    factors = f"network.fusion.diagram = {diagrams}\n{bounds and f'network.fusion.k_max = {bounds}'}\n{more}"
    text = water_study("fused", factors, hidden='{ irreps = "4x0e+4x1o" }').replace(
        "[network]", "[network.fusion]\nchannels = 2\n[network]"
    )
    return plan(Study.parse(text, "fused.toml", tmp_path), tmp_path)


@pytest.fixture
def plan_of(tmp_path, tiny_reference):
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / tiny_reference.name).write_bytes(tiny_reference.read_bytes())
    return lambda *given: planned(tmp_path, *given)


def test_distinct_leaves_and_a_bound_that_cuts_need_no_note(plan_of):
    assert list(fusion_notes(plan_of(["none", *TOPOLOGIES], "[0, 1]"))) == []


def test_topologies_without_a_bound_coincide(plan_of):
    plan = plan_of(["none", *TOPOLOGIES], "")
    (sentence,) = fusion_notes(plan)
    first, second = (arm.label for arm in plan.arms[1:])
    assert sentence == (
        f"{first}; {second} make the same functions, because internal edges are not bounded, and recoupling turns one "
        "tree into the other; topologies differ if leaves are distinct and k_max excludes some functions"
    )
    assert sentence in notes(plan, [])


def test_a_bound_that_cuts_nothing_is_none(plan_of):
    plan = plan_of(TOPOLOGIES, "[1, 3]")
    coincide, *bounds = fusion_notes(plan)
    apart = [arm.label for arm in plan.arms if arm.configuration.network.fusion.k_max == 3]
    assert coincide.startswith(
        f"{'; '.join(apart)} make the same functions, because k_max keeps all of their functions, and"
    )
    assert bounds == [
        f"k_max = 3 keeps all functions of {tree}: {label}" for tree, label in zip(TOPOLOGIES, apart, strict=True)
    ]


def test_exchanged_children_are_one_tree(plan_of):
    plan = plan_of(["((centre neighbours) edges)", "(edges (neighbours centre))"], "[1]")
    (arm,) = plan.arms
    assert len(arm.arm.labels) == 2
    assert list(fusion_notes(plan)) == []


def test_equal_leaves_coincide(plan_of):
    trees = ["(((centre centre) centre) centre)", "((centre centre) (centre centre))"]
    assert list(fusion_notes(plan_of(trees, "[1]", 'network.hidden.irreps = ["4x1o+4x2e"]\n'))) == []
    sentence, *bounds = fusion_notes(plan_of(trees, "[1]"))
    assert "because their leaves are equal and k_max keeps all of their functions;" in sentence
    assert len(bounds) == 2


def test_bounds_that_leave_the_same(plan_of):
    """Even orders make no k = 1 of even parity that three equal leaves have a use for."""
    plan = plan_of(["((centre centre) centre)"], "[0, 1, 2]", 'network.hidden.irreps = ["4x0e+4x2e"]\n')
    sentence, bound = fusion_notes(plan)
    labels = [arm.label for arm in plan.arms]
    assert sentence.startswith(
        f"{labels[0]}; {labels[1]} make the same functions, because their bounds keep the same functions"
    )
    assert bound == f"k_max = 2 keeps all functions of ((centre centre) centre): {labels[2]}"


def test_arms_that_differ_in_more_are_not_compared(plan_of):
    plan = plan_of(TOPOLOGIES, "", "network.layers = [1, 2]\n")
    assert len(plan.arms) == 4
    sentences = list(fusion_notes(plan))
    assert len(sentences) == 2
    assert ["layers=1" in one for one in sentences] == [True, False]
    assert ["layers=2" in one for one in sentences] == [False, True]


@pytest.mark.parametrize("interaction", ["gated", "cormorant", "mace"])
def test_every_interaction(plan_of, interaction):
    plan = plan_of(TOPOLOGIES, "", f'network.interaction = ["{interaction}"]\n')
    assert len(list(fusion_notes(plan))) == 1
