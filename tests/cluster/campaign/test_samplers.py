"""Samplers: a rebuilt study proposes exactly what the undisturbed one would, and nobody raises on a mixed past."""

import json
import pickle
import warnings
from dataclasses import asdict, replace
from itertools import product

import optuna
import pytest
from optuna.distributions import json_to_distribution

from tesseral.cluster.campaign.arm_search import ArmSearch, Finding
from tesseral.cluster.campaign.samplers import make_sampler
from tesseral.study.configuration.trial import State, canonical, digest, seed
from tesseral.study.design.parameter import Parameter
from tesseral.study.design.search_space import read_space
from tesseral.study.design.stages import Proposal
from tesseral.study.design.study_file import Search
from tesseral.study.errors import RecordError
from tests.support.search_arms import ARMS

SPACE = {
    "training": {"learning_rate": {"low": 1e-3, "high": 3e-2, "log": True}, "batch_size": [2, 4, 8]},
    "network": {
        "radial_width": {"low": 16, "high": 64, "step": 16},
        "radial_cutoff": {"low": 2.5, "high": 4.5},
        "num_neighbors": {"low": 8.0, "high": 12.0, "when": "training.batch_size > 2"},
    },
}
UNCONDITIONAL = SPACE | {"network": {"radial_cutoff": {"low": 2.5, "high": 4.5}}}
SAMPLERS = [(name, 1) for name in ("tpe", "random", "qmc", "gp", "cmaes", "nsgaii")] + [
    (name, 2) for name in ("tpe", "random", "qmc", "gp", "nsgaii")
]


def new(sampler: str, objectives: int, space: dict, proposals: list[Proposal], findings: dict) -> ArmSearch:
    search = Search(trials=20, sampler=sampler, space=space, objectives=("l2_error", "seconds")[:objectives])
    parameters: tuple[Parameter, ...] = read_space(search, (), False, ARMS)
    return ArmSearch(ARMS[1], search, parameters, 7, proposals, findings)


def recorded(proposal: Proposal) -> Proposal:
    """As it comes back from a record: keys sorted, everything JSON."""
    return Proposal(**json.loads(canonical(asdict(proposal))))


def finding(proposal: Proposal, objectives: int) -> Finding:
    """A smooth error, of which some trials end early and some fail."""
    error = (proposal.settings["training.learning_rate"] - 0.01) ** 2 + proposal.settings["network.radial_cutoff"]
    match proposal.number % 6:
        case 2:
            return Finding(State.FAILED, None, {1: error + 1})
        case 4:
            return Finding(State.PRUNED, None, {1: error + 1, 3: error + 0.5})
    return Finding(State.COMPLETE, (error, 60.0 / error)[:objectives], {1: error + 1, 3: error + 0.5, 9: error})


@pytest.mark.parametrize(
    ("sampler", "objectives", "space"),
    [
        pytest.param(name, objectives, space, id=f"{name}-{objectives}-{kind}")
        for name, objectives in SAMPLERS
        for kind, space in (("unconditional", UNCONDITIONAL), ("conditional", SPACE))
        if (name, objectives, kind) != ("gp", 2, "conditional")  # slow, and nothing of its own
    ],
)
def test_rebuilding_changes_nothing(sampler, objectives, space):
    """Twenty proposals, three of them in flight at any time; after every one a new search is made from records.

    Its next proposal is the one that the undisturbed search makes, attributes of Optuna included, and no earlier one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search = new(sampler, objectives, space, [], {})
        proposals: list[Proposal] = []
        findings: dict[str, Finding] = {}
        for number in range(20):
            rebuilt = new(sampler, objectives, space, proposals, findings)
            trials = [[(t.state, t.values, t.intermediate_values) for t in s.study.trials] for s in (search, rebuilt)]
            assert trials[0] == trials[1]
            proposal = recorded(search.propose(digest))
            assert recorded(rebuilt.propose(digest)) == proposal
            proposals.append(proposal)
            if number >= 3:
                old = proposals[number - 3]
                findings.setdefault(old.trial, finding(old, objectives))
                search.tell(old.number, findings[old.trial])
    distinct = {canonical(proposal.params) for proposal in proposals}
    # A child of NSGA-II may be its parent again; everyone else draws from continuous ranges.
    assert len(distinct) == 20 or (sampler == "nsgaii" and len(distinct) > 15)
    assert {trial.state.name for trial in search.study.trials} == {"COMPLETE", "PRUNED", "FAIL", "RUNNING"}


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes"])
def test_samplers_learn(sampler):
    """Their later proposals are better than random ones, though a third of the trials are stopped early or fail."""

    def median_of_last(name: str) -> float:
        search = new(name, 1, UNCONDITIONAL, [], {})
        cutoffs = []
        for _ in range(40):
            proposal = search.propose(digest)
            search.tell(proposal.number, finding(proposal, 1))
            cutoffs.append(proposal.settings["network.radial_cutoff"])
        return sorted(cutoffs[20:])[10]

    assert median_of_last(sampler) < 3.2 < median_of_last("random")


def test_cmaes_with_pruned_trials_that_lack_a_parameter():
    """Optuna's own raises AssertionError with the second of these seeds."""
    search = Search(trials=20, sampler="cmaes", space=SPACE)
    parameters = read_space(search, (), False, ARMS)
    for study_seed in range(3):
        arm = ArmSearch(ARMS[1], search, parameters, study_seed, [], {})
        for _ in range(20):
            proposal = arm.propose(digest)
            arm.tell(proposal.number, finding(proposal, 1))
        assert arm.distinct == 20


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            pickle.dumps(print).hex(),
            "expected a CMA-ES state of numbers only in the search's records; it names (builtins|__builtin__).print",
        ),
        ("00ff", "the CMA-ES state of proposal 7 is damaged"),
    ],
    ids=["foreign", "torn"],
)
def test_cmaes_state_of_another_hand(state, message):
    """What stands in a record is never run: the state is refused before Optuna unpickles it."""
    search = new("cmaes", 1, UNCONDITIONAL, [], {})
    proposals: list[Proposal] = []
    findings: dict[str, Finding] = {}
    while not proposals or "cma:optimizer:0" not in proposals[-1].system_attrs:
        proposal = recorded(search.propose(digest))
        proposals.append(proposal)
        findings[proposal.trial] = Finding(State.COMPLETE, (float(proposal.number),), {})
        search.tell(proposal.number, findings[proposal.trial])
    attributes = {key: text for key, text in proposals[-1].system_attrs.items() if "optimizer" not in key}
    proposals[-1] = replace(proposals[-1], system_attrs=attributes | {"cma:optimizer:0": state})
    with pytest.raises(RecordError, match=message):
        new("cmaes", 1, UNCONDITIONAL, proposals, findings).propose(digest)


def test_searches_differ():
    """Arms, studies and repeats have random numbers of their own."""
    search = Search(trials=20, sampler="qmc", space=UNCONDITIONAL)
    parameters = read_space(search, (), False, ARMS)
    firsts = set()
    for arm in ARMS:
        for study_seed, repeat in product((1, 2), (0, 1, 2)):
            searches = ArmSearch(arm, search, parameters, study_seed, [], {}, repeat)
            firsts.add(tuple(searches.propose(digest).params["network.radial_cutoff"] for _ in range(3)))
    assert len({value for values in firsts for value in values}) == 36


@pytest.mark.parametrize(("sampler", "equal"), [("random", 15), ("qmc", 15), ("tpe", 10)])
def test_common_proposals_are_equal_until_results_count(sampler, equal):
    """In every arm, not in every repeat."""
    search = Search(trials=20, sampler=sampler, space=UNCONDITIONAL)
    parameters = read_space(search, (), False, ARMS)

    def propose(number: int, repeat: int) -> list[float]:
        """What is proposed where lower values are better in one arm, and worse in the other."""
        searches = ArmSearch(ARMS[number], search, parameters, 1, [], {}, repeat, common=True)
        values = []
        for _ in range(15):
            proposal = searches.propose(digest)
            values.append(proposal.params["network.radial_cutoff"])
            searches.tell(proposal.number, Finding(State.COMPLETE, ((1, -1)[number] * values[-1],), {}))
        return values

    first, second = propose(0, 1), propose(1, 1)
    assert [a == b for a, b in zip(first, second, strict=True)] == [True] * equal + [False] * (15 - equal)
    assert not set(first) & set(propose(0, 2))


def test_the_first_search_of_an_arm_has_the_seeds_of_a_single_one():
    """So a study that was started when each arm had one search proposes what it would have proposed."""
    search = Search(trials=20, sampler="random", space=UNCONDITIONAL)
    parts = (7, "search", ARMS[1].key)
    study = optuna.create_study(sampler=make_sampler("random", seed(*parts, 0), seed(*parts), 20))
    first = ArmSearch(ARMS[1], search, read_space(search, (), False, ARMS), 7, [], {}, 0).propose(digest)
    trial = study.ask({name: json_to_distribution(text) for name, text in first.distributions.items()})
    assert trial.params == first.params


def test_seeds_of_any_size():
    for name in ("tpe", "random", "qmc", "gp", "cmaes", "nsgaii"):
        study = optuna.create_study(sampler=make_sampler(name, 2**63 - 1, 2**63 - 1, 20))
        assert 0.0 <= study.ask().suggest_float("x", 0.0, 1.0) <= 1.0
    with pytest.raises(ValueError, match="expected tpe, random"):
        make_sampler("annealing", 1, 1, 20)
