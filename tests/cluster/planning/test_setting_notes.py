"""The planner names settings that change nothing, and no others."""

from dataclasses import replace

import pytest

from tesseral.cluster.planning.forecast import notes
from tesseral.cluster.planning.plan import StudyPlan, plan
from tesseral.cluster.planning.setting_notes import open_notes, setting_notes
from tesseral.study.parsing.preset import choose
from tesseral.study.study import Study
from tests.support.water_study import water_study

LMAX = "network.hidden.lmax = [0, 1]"
BOUND = "network.fusion.k_max has no effect without a diagram"
CHANNELS = "network.fusion.channels has no effect without a diagram"
CORRELATION = "network.correlation has no effect outside mace"
WEIGHT = "loss.forces has no effect unless the target is forces"
PATH = "network.hidden.lmax"
SEARCH = "[search]\ntrials = 2\n[search.space]\ntraining.learning_rate = [1e-3, 1e-2]\n"


@pytest.fixture
def plan_of(tmp_path, tiny_reference):
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / tiny_reference.name).write_bytes(tiny_reference.read_bytes())

    def planned(factors: str, network: str = "", more: str = "", preset: str | None = None) -> StudyPlan:
        factors = factors if "lmax" in factors else f"{LMAX}\n{factors}"
        text = water_study("noted", factors).replace("[network]", f"[network]\n{network}") + more
        return plan(Study.parse(choose(text, preset, ""), "noted.toml", tmp_path), tmp_path)

    return planned


@pytest.mark.parametrize(
    ("factors", "network", "more", "expected"),
    [
        (LMAX, "", "", []),
        (LMAX, "fusion.k_max = 2", "", [BOUND]),
        (LMAX, "fusion.channels = 2\ncorrelation = 2", "", [CORRELATION, CHANNELS]),
        (LMAX, "saturation = false", "", ["network.saturation has no effect in a gated network without a diagram"]),
        ('network.interaction = ["gated", "mace"]', "saturation = false", "", []),
        (LMAX, "", "[loss]\nforces = 2.0\n", [WEIGHT]),
        ("network.fusion.k_max = [1, 2]", "", "", [BOUND]),
        ("network.fusion = [{ k_max = 1 }, { k_max = 2 }]", "", "", [BOUND]),
        ('network.fusion.diagram = ["none", "(edges centre)"]\nnetwork.fusion.k_max = [1, 2]', "", "", []),
        ('network.interaction = ["gated", "mace"]', "correlation = 2", "", []),
        ('network.interaction = ["gated", "cormorant"]', "correlation = 2", "", [CORRELATION]),
        (LMAX, "", SEARCH + "network.correlation = [1, 2]\n", [CORRELATION]),
        (LMAX, "correlation = 2", SEARCH + 'network.interaction = ["gated", "mace"]\n', []),
        (LMAX, "correlation = 2", '[search]\ntrials = 2\ndefine = "own:space"\n', []),
        (LMAX, "correlation = 2\ndefine = 'tesseral.models.networks.network:Network'", "", []),
    ],
)
def test_what_is_set_and_changes_nothing(plan_of, factors, network, more, expected):
    plan = plan_of(factors, network, more)
    assert list(setting_notes(plan)) == expected
    assert [line for line in notes(plan, []) if "no effect" in line] == expected


READOUT = "network.readout is not set: it is a convolution in gated arms and linear in the others"


@pytest.mark.parametrize(
    ("factors", "network", "told"),
    [
        ('network.interaction = ["gated", "mace"]', "", True),
        ('network.interaction = ["cormorant", "mace"]', "", False),
        ('network.interaction = ["gated", "mace"]', 'readout = "linear"', False),
        ('network.interaction = ["gated", "mace"]\nnetwork.readout = ["linear", "convolution"]', "", False),
    ],
)
def test_a_readout_that_differs_unasked_is_told(plan_of, factors, network, told):
    plan = plan_of(factors, network)
    assert [READOUT in line for line in open_notes(plan)] == ([True] if told else [])
    assert any(READOUT in line for line in notes(plan, [])) == told


def test_that_nothing_is_compared_is_told(plan_of):
    plan = plan_of(LMAX)
    assert list(open_notes(plan)) == []
    alone = replace(plan.study, file=replace(plan.study.file, study=replace(plan.study.file.study, within=(PATH,))))
    (line,) = open_notes(replace(plan, study=alone))
    assert line == "no arm has a baseline: no two arms share a target and the levels of study.within"


def test_a_preset_sets_too(plan_of):
    more = "[presets.tiny]\nnetwork.correlation = 2\n"
    assert list(setting_notes(plan_of(LMAX, more=more))) == []
    assert list(setting_notes(plan_of(LMAX, more=more, preset="tiny"))) == [CORRELATION]


def test_densities_that_the_validation_split_lacks_are_told(plan_of):
    lines = list(open_notes(plan_of(LMAX, more="[traces]\ndensities = 100\n")))
    assert lines == ["traces.densities is 100, and data.validation is 2: so many structures are measured"]
    assert list(open_notes(plan_of(LMAX, more="[traces]\ndensities = 2\n"))) == []
