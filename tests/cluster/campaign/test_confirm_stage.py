"""The confirm stage: pairs in order, and blocks that a sequential allocation adds within each target alone."""

from types import SimpleNamespace

import pytest

from tesseral.cluster.campaign.confirm_stage import ConfirmStage
from tesseral.study.study import Study
from tests.support.water_study import water_study

FACTORS = 'target.quantity = ["energy", "dipole"]\nnetwork.hidden.lmax = [0, 1]'


@pytest.fixture
def stage() -> ConfirmStage:
    return confirming(FACTORS)


def confirming(factors: str, header: str = 'metric = "relative_error"') -> ConfirmStage:
    text = water_study("sequential", factors, blocks=6).replace('metric = "l2_error"', header)
    text = text.replace("[replication]", '[replication]\nallocate = "sequential"\nprecision = 2.0\nmax_blocks = 40')
    study = Study.parse(text, "sequential.toml")
    arms = [SimpleNamespace(label=arm.label, arm=arm) for arm in study.arms]
    stage = ConfirmStage(SimpleNamespace(study=study, arms=arms, baseline=arms[0]))
    for arm in arms:
        stage.choose(arm)
    return stage


def blocks(stage: ConfirmStage, errors) -> dict[str, int]:
    """Run to the end with these errors; the blocks that each arm was given."""
    return run(
        stage, lambda setting, block: errors(setting.target.quantity, "1o" in setting.network.hidden.irreps, block)
    )


def run(stage: ConfirmStage, errors) -> dict[str, int]:
    """The same, of errors by configuration and block."""
    given: dict[str, int] = {}
    while (due := stage.next()) is not None:
        arm, place = due
        given[arm.label] = max(given.get(arm.label, 0), place[0] + 1)
        stage.ended(place, errors(arm.arm.configuration, place[0]))
    return given


def test_pairs_are_of_one_target(stage):
    """Energies and dipoles jump from block to block, each in its own way, but the change within a target is exact."""

    def errors(quantity, vectors, block):
        jump = 2.0 ** (block % 3) if quantity == "energy" else 3.0 ** (block % 2)
        return jump * (0.8 if vectors else 1.0)

    assert set(blocks(stage, errors).values()) == {11}, "precise at the first look, then five fresh blocks"


def test_only_the_target_whose_change_is_not_known_goes_on(stage):
    def errors(quantity, vectors, block):
        return 1.0 + (0.5 * (block % 2) if quantity == "dipole" and vectors else 0.0)

    given = blocks(stage, errors)
    assert {count for label, count in given.items() if "dipole" in label} == {40}
    assert {count for label, count in given.items() if "energy" in label} == {11}


@pytest.mark.parametrize(
    ("header", "count"), [('within = ["training.epochs"]', 11), ("", 40)], ids=["within epochs", "with the first arm"]
)
def test_pairs_are_those_of_the_report(header, count):
    """At each length of training the change is exact; between lengths, errors jump from block to block."""
    factors = "network.hidden.lmax = [0, 1]\ntraining.epochs = [3, 6]"

    def errors(setting, block):
        jump = 2.0 ** (block % 3) if setting.training.epochs == 3 else 3.0 ** (block % 2)
        return jump * (0.8 if "1o" in setting.network.hidden.irreps else 1.0)

    given = run(confirming(factors, header), errors)
    assert {given[label] for label in given if "epochs=6" in label} == {count}
