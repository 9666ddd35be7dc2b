"""`tesseral plan`: what it shows of each design, without data, in a moment; and every mistake in one sentence."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tesseral.cluster.campaign.asha import Halving
from tesseral.cluster.planning.cost import SHIPPED
from tesseral.cluster.planning.forecast import forecasts, notes, share_of_epochs, title, to_dict
from tesseral.cluster.planning.plan import StudyPlan, plan, prepare
from tesseral.models.data.reference_file import read_reference
from tesseral.models.data.split import split_structures
from tesseral.models.training.timed_step import measure_step
from tesseral.study.configuration.trial import Trial
from tesseral.study.errors import DataError, StudyFileError
from tesseral.study.study import Study
from tests.support.command_line import assert_refused, tesseral
from tests.support.water_study import EXAMPLES, water_study

STUDY = """
[study]
name = "planned"
metric = "l2_error"
allow_unreachable = true

[data]
reference = "reference/water_tiny.parquet"
recipe = "water_tiny.toml"
train = 8
validation = 2
test = 4

[network]
hidden.mul = [8, 4, 2]
layers = 2
radial_width = 16
"""
FACTORS = '[factors]\nnetwork.hidden.lmax = [0, 1, 2]\nnetwork.hidden.parity = ["both", "natural"]\n'
SEARCH = """
[search]
trials = 9
[search.space]
training.learning_rate = { low = 1e-3, high = 1e-1, log = true }
[search.asha]
min_epochs = 10
"""


UNTRAINABLE = "has nothing to train"
UNMADE = '[factors]\nnetwork.hidden.irreps = ["4x0e", "4x2o"]\n'


@pytest.fixture
def write(tmp_path):
    """Writes a study beside its recipe; there is no data."""

    def write(more: str) -> Path:
        shutil.copy(EXAMPLES / "water_tiny.toml", tmp_path)
        path = tmp_path / "study.toml"
        path.write_text(STUDY + more)
        return path

    return write


def planned(path: Path) -> StudyPlan:
    return plan(path, path.parent / "runs")


def test_a_plan_of_a_hundred_arms_needs_no_data(write, tmp_path):
    path = write(
        '[factors]\nnetwork.hidden.lmax = [0, 1, 2, 3, 4]\nnetwork.layers = [1, 2, 3, 4, 5]\n'
        'network.hidden.parity = ["both", "natural"]\nnetwork.harmonics_lmax = [2, 3]\n'
        '[match]\nby = "parameters"\nwithin = ["network.layers"]\n' + SEARCH
    )  # fmt: skip
    done = tesseral("plan", path, "--storage", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert "planned: 100 arms × 1 block × 3 replicates = 300 trials, after a search of 9 trials an arm" in " ".join(
        done.stdout.split()
    )
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not (tmp_path / "runs").exists()


def test_a_plan_without_data_does_not_import_torch(write, tmp_path):
    path = write(FACTORS)
    code = (
        "import sys\nfrom tesseral.cluster.commands.app import app\n"
        f"app(['plan', {str(path)!r}, '--storage', {str(tmp_path / 'runs')!r}], standalone_mode=False)\n"
        "print(sorted({'torch', 'ray', 'optuna'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_arms_are_shown_as_they_are_matched(write, tmp_path):
    path = write(FACTORS + '[match]\nby = "parameters"\n')
    shown = tesseral("plan", path, "--storage", tmp_path).stdout
    tree = json.loads(tesseral("plan", path, "--storage", tmp_path, "--json").stdout)
    assert len(tree["arms"]) == 6
    largest = tree["arms"][4]
    assert largest["hidden"] == largest["hidden_natural"]
    for arm in tree["arms"]:
        assert arm["target"] == largest["parameters_live"]
        assert arm["residual"] == pytest.approx(arm["parameters_live"] / arm["target"] - 1)
        assert arm["hidden"] in shown
        assert f"{arm['parameters']:,}" in shown
        assert arm["steps"] == arm["configuration"]["training"]["epochs"] * 2
        assert arm["seconds"] == pytest.approx(3 * arm["seconds_trial"])
    assert tree["arms"][0]["hidden_natural"] == "8x0e+8x0o"
    assert "is never produced" in tree["arms"][0]["dead"]
    assert f"8x0e+8x0o\n{' ' * len(shown.split('8x0e+8x0o')[0].splitlines()[-1])}→ {tree['arms'][0]['hidden']}" in (
        "\n".join(line.rstrip() for line in shown.splitlines())
    )
    assert tree["arms"][0]["unreachable"][-1].endswith("4e")
    assert "- lmax=0, parity=natural misses its size by +2.7 %: widths are whole numbers" in shown
    assert tree["core_hours"] == pytest.approx(sum(arm["seconds"] for arm in tree["arms"]) / 3600)
    assert tree["rate"]["trials"] == 0
    assert "until trials are recorded in this storage" in " ".join(shown.split())
    sums = next(line for line in shown.splitlines() if "total," in line)
    assert "total, one after another" in sums, "a sum of times on one core each"


def test_times_are_those_of_the_rate(write):
    plan = planned(write(FACTORS + SEARCH + "[training]\nepochs = 100\n"))
    rate = replace(SHIPPED, setup=10.0, overhead=1.0, per_flop=0.0)
    costs = forecasts(plan, rate)
    # 100 epochs of two steps; rungs at 10, 30 and 90.
    assert plan.rungs(plan.arms[0]) == (10, 30, 90)
    share = share_of_epochs(plan, plan.arms[0], 9)
    for one in costs:
        assert one.step == 1.0
        assert one.trial == 210.0
        assert one.seconds == pytest.approx(9 * (10 + 200 * share) + 3 * 210)
        assert one.longest == pytest.approx(12 * 210)
    assert any("as if each rung ranked them anew" in note for note in notes(plan, costs))
    assert "ASHA, rungs at epochs 10, 30, 90) = 72 trials in all" in title(plan)
    assert to_dict(plan, costs, rate)["core_hours"] == pytest.approx(sum(one.seconds for one in costs) / 3600)


@pytest.mark.parametrize("trials", [1, 4, 20, 9000])
def test_the_share_of_epochs_is_that_of_a_simulated_search(write, trials):
    """Fresh ranks at each rung, with seed 1."""
    plan = planned(write(FACTORS + SEARCH + "[training]\nepochs = 100\n"))
    share, draw, rungs = share_of_epochs(plan, plan.arms[0], trials), np.random.default_rng(1), (10, 30, 90)
    if trials == 9000:  # a long one lets one in three pass
        assert share == pytest.approx((10 + 20 / 3 + 60 / 9 + 10 / 27) / 100, rel=0.01)
        return
    epochs = 0
    for _ in range(searches := 1500):
        halving = Halving(rungs, 3)
        for trial in range(trials):
            epochs += next((rung for rung in rungs if halving.judge(str(trial), rung, draw.random())), 100)
    assert share == pytest.approx(epochs / (searches * trials * 100), rel=0.03)


def test_without_a_rate_for_the_gpu_no_time_is_given(write, tmp_path):
    path = write(FACTORS + "[resources]\ngpus = 0.5\n")
    shown = " ".join(tesseral("plan", path, "--storage", tmp_path).stdout.split())
    assert "this storage has no recorded rate of a GPU" in shown
    assert "GPU-hours" not in shown
    assert json.loads(tesseral("plan", path, "--storage", tmp_path, "--json").stdout)["gpu_hours"] is None
    costs = forecasts(planned(path), replace(SHIPPED, setup=3600.0, overhead=0.0, per_flop=0.0))
    assert to_dict(planned(path), costs, SHIPPED)["gpu_hours"] == pytest.approx(6 * 3 * 0.5)


def test_what_a_condition_leaves_out_is_named(write):
    plan = planned(
        write(FACTORS + "[design]\nwhere = ['network.hidden.lmax > 0 or network.hidden.parity == \"both\"']\n")
    )
    (note,) = [note for note in notes(plan, forecasts(plan, SHIPPED)) if "leaves out" in note]
    assert note.startswith("design.where (entry 1) (network.hidden.lmax > 0 or")
    assert note.endswith("leaves out 1 arm: lmax=0, parity=natural")


def test_aliases_of_a_fraction_are_printed(write, tmp_path):
    path = write(
        "[factors]\nnetwork.hidden.lmax = [1, 2]\nnetwork.layers = [1, 2]\n"
        'network.hidden.parity = ["both", "natural"]\n'
        '[design]\nkind = "fractional"\nruns = 4\n'
    )
    shown = tesseral("plan", path, "--storage", tmp_path).stdout
    assert "2^(3-1) fraction of resolution III" in shown
    assert "generator C = AB: layers = lmax × parity" in shown
    assert "layers is aliased with lmax × parity" in shown


def test_merged_arms_loose_matches_and_allocations_are_noted(write):
    arms = '[[arms]]\nnetwork.hidden.irreps = "8x0e+4x1o"\n[[arms]]\nnetwork.hidden.irreps = "4x1o+8x0e"\n'
    arms += '[[arms]]\nnetwork.hidden.irreps = "1x1o+1x2e+1x3o"\n[match]\nby = "components"\nto = 23\n'
    plan = planned(
        write(arms + "[replication]\nallocate = 'sequential'\nprecision = 2.0\nblocks = 3\nmax_blocks = 8\n")
    )
    lines = notes(plan, forecasts(plan, SHIPPED))
    assert len(plan.arms) == 2
    assert any(
        line.startswith("equal configurations are one arm: irreps=8x0e+4x1o = irreps=4x1o+8x0e") for line in lines
    )
    (loose,) = [line for line in lines if "misses its size" in line]
    assert "it has no 0e to make up the difference" in loose
    assert any("known to ±2 %: 18 trials of the confirm stage at least, 48 at most" in line for line in lines)


def test_long_labels_are_wrapped_and_brackets_are_kept(write, tmp_path):
    path = write(
        '[factors]\nnetwork.hidden = [{ orders = [0, 1] }, { orders = [0, 2] }]\nloss.name = ["raw", "overlap"]\n'
    )
    shown = tesseral("plan", path, "--storage", tmp_path).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "[0,2]" in shown


@pytest.mark.parametrize(
    ("old", "new", "more", "words"),
    [
        ('recipe = "water_tiny.toml"\n', "", FACTORS, ["water_tiny.parquet", "data.recipe"]),
        ("water_tiny.toml", "none.toml", FACTORS, ["data.recipe", "none.toml"]),
        ("train = 8", "train = 9", FACTORS, ["at most 14", "that water_tiny.toml makes", "9 + 2 + 4 = 15"]),
        ("validation = 2", "validation = 3", FACTORS, ["data.train", "at most 14", "8 + 3 + 4 = 15"]),
        ("", "", '[factors]\nnetwork.hidden.lmx = [0, 1]\n', ["network.hidden.lmx", "did you mean 'lmax'"]),
        ("", "", FACTORS + '[design]\nwhere = ["network.layers > 3"]\n', ["design.where", "leave an arm"]),
        ("", "", FACTORS + '[design]\nwhere = ["network.depth > 3"]\n', ["design.where (entry 1)", "network.depth"]),
        ("", "", FACTORS + '[match]\nby = "parameters"\nto = 3\n', ["match.to", "lmax=0", "multiplicities of 1"]),
        ("", "", FACTORS + '[match]\nby = "parameters"\nto = "lmax=7"\n', ["match.to", "'lmax=7'"]),
        ("", "", FACTORS + SEARCH.replace("learning_rate", "learnin_rate"), ["search.space", "learnin_rate"]),
        ("allow_unreachable = true", "", FACTORS, ["study.allow_unreachable", "cannot reach", "4e"]),
        ("", "", UNMADE, ["network.hidden", "irreps=4x2o", UNTRAINABLE]),
        ("", "", UNMADE + '[match]\nby = "parameters"\n', ["network.hidden", "irreps=4x2o", UNTRAINABLE]),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(write, tmp_path, old, new, more, words):
    path = write(more)
    path.write_text(path.read_text().replace(old, new, 1))
    assert_refused(tesseral("plan", path, "--storage", tmp_path / "runs"), *words)
    assert not (tmp_path / "runs").exists()


WEIGHTLESS = """
import torch


class Frozen(torch.nn.Linear):
    def forward(self, graph):
        return super().forward(graph.elements)


def build(settings, *, elements, irreps_out, num_neighbors):
    return Frozen(elements, irreps_out.dim).requires_grad_(False)
"""


def test_a_network_of_ones_own_without_weights_is_refused(write, tmp_path):
    (tmp_path / "weightless.py").write_text(WEIGHTLESS)
    path = write('[[arms]]\nnetwork.define = "weightless:build"\nnetwork.hidden.lmax = 0\n')
    assert_refused(tesseral("plan", path, "--storage", tmp_path), "network.define", "weightless:build", UNTRAINABLE)


def test_operations_are_matched_per_structure(write):
    more = '[match]\nby = "flops"\n' + SEARCH.replace(
        "training.learning_rate = { low = 1e-3, high = 1e-1, log = true }", "training.batch_size = [2, 4, 8]"
    )
    plan = planned(write("[factors]\nnetwork.hidden.lmax = [1, 2]\n" + more))
    for arm in plan.arms:
        assert abs(arm.residual) < 0.01
        resized = [plan.with_settings(arm, {"training.batch_size": size}) for size in (2, 4, 8)]
        assert {one.hidden for one in resized} == {arm.hidden}
        assert [one.size.flops / resized[0].size.flops for one in resized] == [1, 2, 4], "of the whole step"
        assert {round(one.residual, 9) for one in resized} == {round(arm.residual, 9)}
    factors = "[factors]\ntraining.batch_size = [2, 8]\nnetwork.hidden.lmax = [1]\n"
    batches = planned(write(factors + "[match]\nby = 'flops'\n"))
    assert len({arm.hidden for arm in batches.arms}) == 1


def test_probe_needs_the_data(write, tmp_path):
    assert_refused(tesseral("plan", write(FACTORS), "--probe", "--storage", tmp_path), "water_tiny.parquet")


def test_probe_times_a_step_of_each_arm(storage, write):
    path = write("[factors]\nnetwork.hidden.lmax = [0, 2]\n")
    done = tesseral("plan", path, "--probe", "--storage", storage)
    assert done.returncode == 0, done.stderr
    assert "measured step" in done.stdout
    tree = json.loads(tesseral("plan", path, "--probe", "--storage", storage, "--json").stdout)
    assert [step["device"] for step in tree["probe"]] == ["cpu", "cpu"]
    assert all(1e-4 < step["seconds"] < 10 for step in tree["probe"])


def test_a_step_is_measured(tiny_reference, write):
    """More work takes longer, and the steps that were timed are a part of the time that the call took."""
    arms = '[[arms]]\nnetwork.hidden.irreps = "4x0e"\n[[arms]]\nnetwork.hidden.irreps = "99x0e+99x1o+99x2e"\n'
    plan = planned(write(arms))
    reference = read_reference(str(tiny_reference))
    small, large = (arm.configuration for arm in plan.arms)
    began = time.perf_counter()
    slow = measure_step(large, reference, "cpu")
    assert 5 * slow.seconds < time.perf_counter() - began
    assert measure_step(small, reference, "cpu").seconds < slow.seconds
    assert slow.peak_memory is None


def test_a_cutoff_below_every_distance_is_refused_where_the_data_are(storage, write):
    path = write("[factors]\nnetwork.radial_cutoff = [0.3, 3.0]\n")
    path.write_text(path.read_text().replace("hidden.mul", "hidden.lmax = 1\nhidden.mul"))
    with pytest.raises(StudyFileError, match=r"network\.radial_cutoff: .* got 0\.3, within which none has"):
        plan(path, storage)


def test_folds_are_disjoint_test_splits_shared_by_all_arms(storage):
    def planned_with(split: str, blocks: int) -> StudyPlan:
        text = water_study("folds", blocks=blocks).replace("replicates = 1", f'replicates = 1\nsplit = "{split}"')
        return prepare(Study.parse(text, "folds.toml"), storage)

    folded, random = planned_with("folds", 3), planned_with("random", 3)
    plain = prepare(Study.parse(water_study("folds"), "folds.toml"), storage)
    seeds = [folded.plan_confirm(folded.arms[0], block, 0).trial.seeds for block in range(3)]
    assert [seed.fold for seed in seeds] == [0, 1, 2]
    assert len({seed.split for seed in seeds}) == 1
    assert len({seed.order for seed in seeds}) == 3
    tests = [
        split_structures(folded.arms[0].configuration.data, range(14), seed.split, seed.fold).test for seed in seeds
    ]
    assert len({index for test in tests for index in test}) == 3 * 4
    assert seeds[1] == folded.plan_confirm(folded.arms[1], 1, 0).trial.seeds
    trials = [each.plan_confirm(each.arms[0], 1, 0).trial for each in (random, plain, folded)]
    assert trials[0].id == trials[1].id != trials[2].id
    assert "fold" not in trials[0].to_dict()["seeds"]
    assert [Trial.from_dict(trial.to_dict()) for trial in trials] == trials
    with pytest.raises(DataError, match=r"replication.split: expected blocks × test of at most 14.*got 4 × 4 = 16"):
        planned_with("folds", 4)


def test_folds_must_fit_into_what_the_recipe_makes(write):
    path = write(FACTORS + '[replication]\nblocks = 40\nsplit = "folds"\n')
    with pytest.raises(
        DataError, match=r"replication.split: expected blocks × test of at most 14, the structures that"
    ):
        planned(path)
