"""A study whose arms predict different things, from its file to its records."""

import json

import pytest

from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.campaign.driver import run_study
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.planning.plan import prepare
from tesseral.study.configuration.trial import State
from tesseral.study.errors import TesseralError
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.water_study import water_study


def text_of(*quantities: str, more: str = "") -> str:
    factors = f"target.quantity = {json.dumps(quantities)}"
    text = water_study("targets", factors, blocks=1, epochs=1, hidden="{ lmax = 1, mul = [6, 3] }")
    return text.replace('metric = "l2_error"\n', "") + more


def test_targets_of_every_order_are_one_study(storage):
    study = Study.parse(text_of("density", "energy", "dipole", "quadrupole", "octupole", "gap", "r2"), "targets.toml")
    assert run_study(prepare(study, str(storage)), InlineExecutor(), Silent()).states == {State.COMPLETE: 7}
    by_arm = {}
    for entry in Ledger(Store(storage / "targets")).entries():
        metrics, quantity = entry.outcome["metrics"], entry.plan["trial"]["configuration"]["target"]["quantity"]
        by_arm[quantity] = metrics["test.relative_error"]
        assert ("test.epsilon" in metrics) == (quantity == "density") == ("test.error" not in metrics)
    assert by_arm.keys() == {"density", "energy", "dipole", "quadrupole", "octupole", "gap", "r2"}
    assert all(0 < value < 1000 for value in by_arm.values())


def test_a_search_is_decided_by_the_error_that_targets_share(storage):
    more = "\n[search]\ntrials = 2\n[search.space]\ntraining.learning_rate = [1e-3, 1e-2]\n"
    study = Study.parse(text_of("dipole", "energy", more=more), "targets.toml")
    plan = prepare(study, str(storage))
    assert plan.objectives == ("validation.relative_error",)
    assert run_study(plan, InlineExecutor(), Silent()).states == {State.COMPLETE: 6}


@pytest.mark.parametrize(
    ("quantity", "words"),
    [
        ("forces", ["target.quantity", "expected forces of every converged structure", "monomer-0000"]),
        ("label:charge", ["target.quantity", "the reference data declare none", "label:charge"]),
        ("enrgy", ["factors.target.quantity", "did you mean 'energy'"]),
    ],
)
def test_what_the_data_lack_is_one_sentence(storage, quantity, words):
    with pytest.raises(TesseralError) as caught:
        prepare(Study.parse(text_of(quantity), "targets.toml"), str(storage))
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)
    assert not (storage / "targets").exists()
