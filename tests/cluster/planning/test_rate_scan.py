"""A scan trains each arm at the study's rate and about it, outwards while the best is at an edge."""

import json
from dataclasses import replace
from math import log
from types import SimpleNamespace

import pytest

from tesseral.cluster.planning import rate_scan
from tesseral.cluster.planning.plan import StudyPlan, prepare
from tesseral.cluster.planning.rate_scan import scan_rates
from tesseral.study.errors import StudyFileError
from tesseral.study.records.rate_scan import read_scan
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.command_line import assert_refused, tesseral
from tests.support.water_study import water_study


def planned(storage, text: str = "", training: str = "") -> StudyPlan:
    file = water_study("scanned").replace("[training]\n", f"[training]\n{training}\n") + text
    return prepare(Study.parse(file, "scanned.toml"), storage)


@pytest.mark.parametrize(
    ("best", "rates"),
    [
        (0.01, [1 / 3, 1, 3]),
        (0.03, [1 / 3, 1, 3, 9]),
        (0.1, [1 / 3, 1, 3, 9, 27]),
        (10.0, [1 / 3, 1, 3, 9, 27]),
        (0.003, [1 / 9, 1 / 3, 1, 3]),
        (1e-5, [1 / 27, 1 / 9, 1 / 3, 1, 3]),
    ],
)
def test_rates_go_outwards_while_the_best_is_at_an_edge(storage, monkeypatch, best, rates):
    monkeypatch.setattr(
        rate_scan, "_error", lambda trial, *_: 1 + log(trial.configuration.training.learning_rate / best) ** 2
    )
    progress = []
    scan = scan_rates(planned(storage), on_progress=lambda *counts: progress.append(counts))
    for arm in scan.arms:
        assert arm.rates == pytest.approx([0.01 * rate for rate in rates])
    assert progress[0] == (1, 6)
    assert progress[-1] == (2 * len(rates), 2 * len(rates))


def test_divergence_asks_for_lower_rates(storage, monkeypatch):
    def error(trial, *_):
        rate = trial.configuration.training.learning_rate
        return None if rate > 2e-3 else rate

    monkeypatch.setattr(rate_scan, "_error", error)
    arm = scan_rates(planned(storage)).arms[0]
    assert arm.rates == pytest.approx([0.01 / 27, 0.01 / 9, 0.01 / 3, 0.01, 0.03])
    assert arm.errors[2:] == (None, None, None)


def test_a_short_training_is_that_of_a_search_with_fewer_epochs(storage, monkeypatch):
    trials = []
    monkeypatch.setattr(rate_scan, "_error", lambda trial, *_: trials.append(trial) or 1.0)
    plan = planned(storage, training="warmup_epochs = 4")
    scan_rates(plan, share=0.25)
    assert {trial.configuration.training.epochs for trial in trials} == {2}  # a quarter of 6, rounded up
    assert {trial.configuration.training.warmup_epochs for trial in trials} == {1}
    assert {trial.seeds for trial in trials} == {plan.plan_search(plan.arms[0]).trial.seeds}
    for trial in trials:
        arm = plan.arms[trial.configuration.network.hidden.irreps != plan.arms[0].configuration.network.hidden.irreps]
        rate = trial.configuration.training.learning_rate
        training = replace(arm.configuration.training, epochs=2, warmup_epochs=1, learning_rate=rate)
        assert trial.configuration == replace(arm.configuration, training=training)


def test_a_scan_that_is_really_trained(storage):
    before = sorted(storage.rglob("*"))
    scan = scan_rates(planned(storage), share=1.0)
    assert scan.metric == "l2_error"
    assert scan == scan_rates(planned(storage), share=1.0)
    for arm in scan.arms:
        assert all(0 < error < 200 for error in arm.errors)
    assert sorted(storage.rglob("*")) == before


def test_trainings_use_the_backend_of_the_study(storage, monkeypatch):
    asked = []

    def train(trial, *_, backend, **__):
        asked.append(backend)
        return SimpleNamespace(metrics={"validation.l2_error": 1.0})

    monkeypatch.setattr("tesseral.models.training.training.train", train)
    scan_rates(planned(storage))
    own = water_study("scanned").replace("[resources]", '[resources]\nbackend = "reference"')
    scan_rates(prepare(Study.parse(own, "scanned.toml"), storage))
    assert asked == [backend for backend in ("auto", "reference") for _ in range(len(asked) // 2)]
    assert asked


def test_what_cannot_be_scanned(storage):
    for path in ('space."training.learning_rate"', "space.training.learning_rate"):
        tuned = f"[search]\ntrials = 2\n{path} = {{ low = 1e-3, high = 1e-1 }}\n"
        with pytest.raises(
            StudyFileError, match=r"search.space.training.learning_rate: expected a study whose learning rate"
        ):
            scan_rates(planned(storage, tuned))
    blind = water_study("scanned").replace("validation = 2", "validation = 0")
    with pytest.raises(StudyFileError, match=r"data.validation: expected structures to validate on"):
        scan_rates(prepare(Study.parse(blind, "scanned.toml"), storage))


def test_the_command_prints_and_records_the_scan(storage, study_file, monkeypatch):
    def error(trial, *_):
        network, rate = trial.configuration.network.hidden.irreps, trial.configuration.training.learning_rate
        return 1 + log(rate / (0.03 if "1o" in str(network) else 0.01)) ** 2

    monkeypatch.setattr(rate_scan, "_error", error)
    done = tesseral("plan", study_file, "--probe-rate", "--storage", storage)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "l2_error on the validation split, by learning rate" in said
    assert "lmax=1 5.83 2.21 1 2.21 0.03 0.01 120.7" in said
    assert "the validation error is that at the best rate in lmax=0 and is 120.7 % above that at the best rate" in said
    scan = read_scan(Store(storage).child("small"), Study.load(study_file))
    assert scan is not None
    assert [arm.best for arm in scan.arms] == [0.01, pytest.approx(0.03)]
    tree = json.loads(tesseral("plan", study_file, "--probe-rate", "--storage", storage, "--json").stdout)
    assert tree["learning_rates"]["favours"] is True
    assert [arm["loss"] for arm in tree["learning_rates"]["arms"]] == [0.0, pytest.approx(log(3) ** 2)]


def test_the_command_needs_the_data(study_file, tmp_path):
    assert_refused(tesseral("plan", study_file, "--probe-rate", "--storage", tmp_path), "water_tiny.parquet")
