"""The search inside one arm: what Optuna is told, repeats, exhaustion, define-by-run, and what it costs."""

import sys
from collections.abc import Sequence
from types import ModuleType

import optuna
import pytest
from optuna.trial import TrialState

from tesseral.cluster.campaign.arm_search import MAX_REPEATED, ArmSearch, Finding
from tesseral.cluster.campaign.asha import Halving
from tesseral.study.configuration.trial import State, digest
from tesseral.study.design.search_space import apply, read_space
from tesseral.study.design.stages import Proposal
from tesseral.study.design.study_file import Search
from tesseral.study.errors import RecordError, StudyFileError, TesseralError
from tests.support.search_arms import ARMS

CONTINUOUS = {"training.learning_rate": {"low": 1e-3, "high": 3e-2, "log": True}}
FOUR = {"training.batch_size": [2, 4], "loss.name": ["raw", "overlap"]}
INF, NAN = float("inf"), float("nan")


def new(
    space: dict, proposals: Sequence[Proposal] = (), findings: dict[str, Finding] | None = None, **search
) -> ArmSearch:
    settings = Search(**({"trials": 20, "sampler": "random", "space": space} | search))
    return ArmSearch(ARMS[1], settings, read_space(settings, (), False, ARMS), 7, proposals, findings or {})


def complete(*values: float, rungs: dict[int, float] | None = None) -> Finding:
    return Finding(State.COMPLETE, values, rungs or {})


def test_what_optuna_is_told():
    search = new(CONTINUOUS)
    for _ in range(5):
        search.propose(digest)
    search.report(0, 1, 0.5)
    search.report(0, 3, NAN)
    search.tell(0, complete(0.25))
    search.report(1, 1, 0.75)
    search.report(1, 3, 0.5)
    search.tell(1, Finding(State.PRUNED))
    search.tell(2, Finding(State.FAILED, None, {1: 0.5}))
    search.tell(3, complete(NAN, rungs={1: INF}))
    search.report(4, 1, 0.5)
    told = [(trial.state, trial.value, trial.intermediate_values) for trial in search.study.trials]
    assert told == [
        (TrialState.COMPLETE, 0.25, {1: 0.5}),
        (TrialState.PRUNED, 0.5, {1: 0.75, 3: 0.5}),
        (TrialState.FAIL, None, {1: 0.5}),
        (TrialState.FAIL, None, {}),
        (TrialState.RUNNING, None, {1: 0.5}),
    ]
    search.tell(0, complete(0.25))  # again: nothing
    with pytest.raises(ValueError, match="complete, pruned or failed, got running"):
        search.tell(4, Finding(State.RUNNING))
    with pytest.raises(ValueError, match="expected 1 values of a complete trial, got 2"):
        search.tell(4, complete(1.0, 2.0))


def test_optuna_itself_raises_on_pruned_rungs_of_several_objectives():
    """The reason why `ArmSearch` tells no intermediate values there: it fails the day that Optuna learns it."""
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(
        storage=storage, directions=["minimize"] * 2, sampler=optuna.samplers.TPESampler(n_startup_trials=1, seed=1)
    )
    study.ask().suggest_float("x", 0, 1)
    storage.set_trial_intermediate_value(0, 1, 0.5)
    study.tell(0, state=TrialState.PRUNED)
    with pytest.raises(RuntimeError, match="single direction"):
        study.ask().suggest_float("x", 0, 1)


def test_stopped_trials_of_two_objectives_teach_tpe():
    """Hardly any trial is complete: those that came further are imitated, as with one objective."""

    def share(sampler: str) -> float:
        search = new(CONTINUOUS, trials=60, sampler=sampler, objectives=("l2_error", "seconds"))
        near = []
        for _ in range(60):
            proposal = search.propose(digest)
            distance = abs(proposal.settings["training.learning_rate"] - 0.02)
            near.append(distance < 0.003)
            rungs = {1: 1 + distance, 3: 1 + distance} if near[-1] else {1: 1 + distance}
            search.tell(proposal.number, Finding(State.PRUNED, None, rungs))
        return sum(near[30:]) / 30

    assert share("tpe") > 0.3 > 0.2 > share("random")


def test_order_of_stopped_trials():
    search = new(CONTINUOUS, objectives=("l2_error", "seconds"))
    findings = [{}, {1: 2.0}, {1: 0.5}, {1: -5.0}, {3: 1e9}, {27: 4.0}]
    for rungs in findings:
        search.tell(search.propose(digest).number, Finding(State.PRUNED, None, rungs))
    shortfalls = [trial.constraints["stopped"] for trial in search.study.trials]
    assert shortfalls == sorted(shortfalls, reverse=True)
    assert min(shortfalls) > 0


def test_repeats_are_told_what_is_known():
    search = new(FOUR)
    proposals = [search.propose(digest) for _ in range(12)]
    first = proposals[0].trial
    same = [proposal.number for proposal in proposals if proposal.trial == first]
    assert len(same) > 1
    assert search.distinct == 4
    assert {trial.state for trial in search.study.trials} == {TrialState.RUNNING}
    search.report(same[-1], 1, 0.5)
    search.tell(same[-1], complete(0.25))
    trials = search.study.trials
    assert [t.number for t in trials if t.state == TrialState.COMPLETE] == same
    assert all(trials[number].intermediate_values == {1: 0.5} for number in same)
    while search.propose(digest).trial != first:
        pass
    assert search.study.trials[-1].state == TrialState.COMPLETE
    assert search.study.trials[-1].value == 0.25


def test_budget_exhaustion_and_repeats_end_a_search():
    search = new(CONTINUOUS, trials=3)
    for _ in range(3):
        assert search.ended is None
        search.propose(digest)
    assert search.ended == "its 3 trials are proposed"

    search = new(FOUR)
    while search.ended is None:
        search.propose(digest)
    assert search.ended == "all 4 points of its search space are proposed"
    assert search.distinct == 4

    search = new(CONTINUOUS)
    while search.ended is None:
        search.propose(lambda settings: "always the same")
    assert search.ended == "50 proposals running repeated earlier ones"
    assert len(search.study.trials) == 1 + MAX_REPEATED


def test_exhaustion_is_known_after_a_restart():
    search = new(FOUR)
    proposals = []
    while search.ended is None:
        proposals.append(search.propose(digest))
    assert new(FOUR, proposals).ended == search.ended


def test_records_with_a_gap_or_a_number_twice():
    search = new(CONTINUOUS)
    proposals = [search.propose(digest) for _ in range(4)]
    rebuilt = new(CONTINUOUS, [proposals[3], proposals[0], proposals[2]], {proposals[3].trial: complete(0.5)})
    assert [trial.state.name for trial in rebuilt.study.trials] == ["RUNNING", "FAIL", "RUNNING", "COMPLETE"]
    assert [trial.params for trial in rebuilt.study.trials] == [proposals[0].params, {}] + [
        proposal.params for proposal in proposals[2:]
    ]
    assert rebuilt.distinct == 3
    assert rebuilt.propose(digest).number == 4
    with pytest.raises(RecordError, match="5 proposals with 4 numbers"):
        new(CONTINUOUS, [*proposals, proposals[1]])


def test_conditions_lists_and_tables():
    space = {
        "network": {
            "layers": [1, 3],
            "radial_layers": {"choices": [0, 1, 2], "when": "network.layers >= 2"},
            "hidden": [{"lmax": 0, "mul": [4]}, {"lmax": 1, "mul": [4, 2]}],
        }
    }
    search = new(space, sampler="tpe", trials=40)
    seen = set()
    for _ in range(40):
        proposal = search.propose(digest)
        layers = proposal.settings["network.layers"]
        assert ("network.radial_layers" in proposal.settings) == (layers == 3)
        assert isinstance(proposal.params["network.hidden"], str)
        seen.add(apply(ARMS[1].configuration, proposal.settings).network.hidden.irreps)
        search.tell(proposal.number, complete(float(layers)))
    assert seen == {"4x0e+4x0o", "4x0e+4x0o+2x1e+2x1o"}


@pytest.fixture
def user_module(monkeypatch) -> ModuleType:
    module = ModuleType("my_search")
    monkeypatch.setitem(sys.modules, "my_search", module)
    return module


def test_define_by_run(user_module):
    def space(trial, arm):
        rate = trial.suggest_float("rate", 1e-3, 1e-2, log=True)
        settings = {"training.learning_rate": rate}
        if arm["network.hidden.lmax"] > 0:
            settings["training.batch_size"] = 2 ** trial.suggest_int("log2 batch", 1, 3)
        return settings

    user_module.space = space
    search = new({}, define="my_search:space")
    proposals = [search.propose(digest) for _ in range(3)]
    for proposal in proposals:
        assert proposal.settings["training.batch_size"] == 2 ** proposal.params["log2 batch"]
        assert set(proposal.distributions) == {"rate", "log2 batch"}
    rebuilt = new({}, proposals, define="my_search:space")
    assert rebuilt.propose(digest) == search.propose(digest)


def test_mistakes_of_a_users_function(user_module):
    with pytest.raises(StudyFileError, match=r"search\.define: .*found no 'no_such_module'"):
        new({}, define="no_such_module:space")
    with pytest.raises(
        StudyFileError, match="expected of module 'my_search' a function, but it defines none, got 'space'"
    ):
        new({}, define="my_search:space")
    user_module.space = 3
    with pytest.raises(StudyFileError, match="expected a function, 'my_search:space' is of type int"):
        new({}, define="my_search:space")
    for function, sentence in [
        (lambda trial, arm: arm["nonsense"], r"my_search:space raised KeyError in arm 'lmax=1': 'nonsense'"),
        (lambda trial, arm: [1], r"expected my_search:space to return a dict of dotted path → value, got \[1\]"),
        (lambda trial, arm: {"network.hidden.irreps": "4x0e"}, "arms differ in network.hidden.lmax"),
        (lambda trial, arm: {"training.epochs": 3}, "cannot be searched"),
        (lambda trial, arm: {"network": {"define": "a:b"}}, "sets network.define, which cannot be searched"),
    ]:
        user_module.space = function
        search = new({}, define="my_search:space")
        with pytest.raises(TesseralError, match=sentence):
            search.propose(digest)
        assert [trial.state for trial in search.study.trials] == [TrialState.FAIL]


def test_a_trial_is_judged_once_at_a_rung():
    halving = Halving([4], 2)
    assert halving.judge("first", 4, 0.9) is None
    for name, value in zip("abc", (0.1, 0.2, 0.3), strict=True):
        halving.judge(name, 4, value)
    assert halving.judge("first", 4, 0.9) is None, "its worker was lost, and it came to the rung again"
    stopped = halving.judge("last", 4, 0.8)
    assert stopped == "number 4 of 5 in its arm after 4 epochs, of which 2 went on"
    assert halving.judge("last", 4, 0.8) == stopped
    assert sorted(halving.values[4].values()) == [0.1, 0.2, 0.3, 0.8, 0.9]
    rebuilt = Halving([4], 2)
    for name, value in halving.values[4].items():
        rebuilt.add(name, 4, value)
    rebuilt.passed("first", 4)
    assert rebuilt.judge("first", 4, 0.9) is None
    assert rebuilt.judge("unjudged", 4, 0.9) is not None


def test_a_long_search_is_rebuilt_whole():
    search = new(CONTINUOUS | {"training.batch_size": [2, 4, 8], "network.layers": {"low": 1, "high": 9}}, trials=500)
    proposals, findings = [], {}
    for number in range(500):
        proposal = search.propose(digest)
        findings[proposal.trial] = complete(float(number), rungs={1: 1.0, 3: 2.0})
        search.tell(number, findings[proposal.trial])
        proposals.append(proposal)
    rebuilt = new(CONTINUOUS, proposals, findings)
    assert [(t.params, t.values) for t in rebuilt.study.trials] == [(t.params, t.values) for t in search.study.trials]
