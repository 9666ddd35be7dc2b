"""Nodes that are lost, that flap, and that lack what trials need: who is left out, and what is said."""

import math

import pytest

from tesseral.cluster.nodes.needs import Needs
from tesseral.cluster.nodes.unfit_nodes import Nodes


class Cluster:
    """What Ray would say about nodes: id → [address, alive]."""

    def __init__(self, *addresses: str) -> None:
        self.sentences: list[str] = []
        self.there = {f"n{index}": [address, True] for index, address in enumerate(addresses)}
        self.now = 0.0
        self.steps: dict[str, int] = {}
        kept, clock = lambda trial: self.steps.get(trial, 0), lambda: self.now
        self.nodes = Nodes(self.look, Needs(1), self.sentences.append, kept, clock)

    def look(self):
        return [
            {"NodeID": name, "NodeManagerAddress": address, "Alive": alive, "Resources": {"CPU": 1.0 + int(name[-1])}}
            for name, (address, alive) in self.there.items()
        ]

    def dies(self, name: str, *trials: str) -> None:
        for trial in trials:
            self.nodes.lost(trial, name)
        self.nodes.settle()  # Ray has not noticed yet
        self.there[name][1] = False
        self.nodes.settle()

    def loses(self, name: str, trial: str) -> None:
        self.nodes.lost(trial, name)
        self.nodes.settle()
        self.now += 31.0
        self.nodes.settle()

    def joins(self, name: str, address: str) -> None:
        self.there[name] = [address, True]


@pytest.fixture
def cluster() -> Cluster:
    return Cluster("10.0.0.1", "10.0.0.2", "10.0.0.3")


def test_a_lost_node_is_said_once_with_the_number_of_its_trials(cluster):
    cluster.steps |= {"a" * 64: 1200, "b" * 64: 40}
    cluster.dies("n1", "a" * 64, "b" * 64)
    assert cluster.sentences == ["node 10.0.0.2 is lost; its 2 trials go on elsewhere from steps 40 and 1,200"]
    assert not cluster.nodes.left_out
    assert cluster.nodes.selector("a" * 64) == {}


def test_a_node_that_flaps_is_left_out_under_each_of_its_ids(cluster):
    for time in range(3):
        cluster.dies("n1" if time == 0 else f"again{time}", f"trial{time}")
        cluster.joins(f"again{time + 1}", "10.0.0.2")
    assert cluster.sentences[-1] == "node 10.0.0.2 is left out from now on: it was lost 3 times"
    assert cluster.nodes.selector("x") == {"ray.io/node-id": "!in(n1,again1,again2,again3)"}


def test_a_node_that_loses_one_trial_after_the_other_is_left_out(cluster):
    for trial in ("a", "a", "b"):
        cluster.loses("n2", trial)
    assert not cluster.nodes.left_out, "one trial that takes its worker with it is no fault of the node"
    cluster.nodes.ended("n2")
    for trial in ("c", "d"):
        cluster.loses("n2", trial)
    assert not cluster.nodes.left_out, "a trial has ended there in between"
    cluster.loses("n2", "e")
    assert cluster.sentences[-1] == (
        "node 10.0.0.3 is left out from now on: 3 trials, one after the other, have lost their workers there"
    )


def test_the_last_node_is_never_left_out():
    cluster = Cluster("10.0.0.1", "10.0.0.1")
    for trial in "abcdef":
        cluster.loses("n0", trial)
    assert not cluster.nodes.left_out
    assert not cluster.nodes.unfit("g", "n1", "no module", certain=True)


def test_what_a_node_lacks_sends_a_trial_to_the_others_one_by_one(cluster):
    assert cluster.nodes.unfit("a", "n0", "no module 'mine'")
    assert cluster.nodes.selector("a") == {"ray.io/node-id": "!in(n0)"}
    assert cluster.nodes.selector("b") == {}
    assert cluster.nodes.unfit("a", "n1", "no module 'mine'")
    assert not cluster.nodes.unfit("a", "n2", "no module 'mine'"), "it is the trial's, if every node lacks it"
    assert not cluster.nodes.left_out
    assert cluster.sentences == []


def test_another_version_leaves_a_node_out_at_once(cluster):
    assert cluster.nodes.unfit("a", "n1", "it has tesseral 0.0.9, the driver 0.1.0", certain=True)
    assert cluster.sentences == ["node 10.0.0.2 is left out from now on: it has tesseral 0.0.9, the driver 0.1.0"]
    assert cluster.nodes.selector("b") == {"ray.io/node-id": "!in(n1)"}


def test_a_trial_is_sized_by_the_nodes_on_which_it_may_run(cluster):
    assert [node["CPU"] for node in cluster.nodes.open_to("a")] == [1.0, 2.0, 3.0]
    assert cluster.nodes.unfit("a", "n2", "it has other code", certain=True)
    cluster.nodes.end({"n1": math.inf}, {})
    assert [node["CPU"] for node in cluster.nodes.open_to("b")] == [1.0]
    cluster.dies("n0", "b")
    assert [node["CPU"] for node in cluster.nodes.open_to("b")] == [3.0], "the last one is used again"


def test_a_node_that_is_about_to_end_is_said_once_and_gets_no_further_trial(cluster):
    cluster.nodes.end({"n1": 29.7}, {"a": "n1", "b": "n0", "c": "n1"})
    cluster.nodes.end({"n1": 28.7, "n2": math.inf}, {"d": "n2"})
    assert cluster.sentences == [
        "node 10.0.0.2 is to end in 30 s; 2 trials there keep a checkpoint and go on elsewhere",
        "node 10.0.0.3 is to end; the trial there keeps a checkpoint and goes on elsewhere",
    ]
    assert cluster.nodes.selector("a") == {"ray.io/node-id": "!in(n1,n2)"}
    assert not cluster.nodes.unfit("b", "n0", "no module", certain=True), "it is the last node that stays"
    cluster.there["n1"][1] = False
    cluster.joins("n3", "10.0.0.2")
    assert cluster.nodes.selector("a") == {"ray.io/node-id": "!in(n2)"}, "the machine may come back"
    assert not cluster.nodes.left_out


def test_a_node_that_ends_without_trials_is_not_spoken_of(cluster):
    cluster.nodes.end({"n1": 30.0}, {"a": "n0"})
    assert cluster.sentences == []


def test_a_worker_whose_node_is_not_known_is_said_too(cluster):
    cluster.loses("", "a" * 64)
    assert cluster.sentences == ["a worker was lost; trial aaaaaaaaaa goes on from step 0"]


def test_a_node_that_was_left_out_is_used_again_once_no_other_is_there(cluster):
    assert cluster.nodes.unfit("a", "n1", "it has other code", certain=True)
    cluster.dies("n0", "b")
    assert cluster.nodes.selector("b") == {"ray.io/node-id": "!in(n1)"}
    cluster.dies("n2", "c")
    assert cluster.nodes.selector("b") == {}


def test_what_is_still_unknown_at_the_end_is_said_as_the_loss_of_a_worker(cluster):
    cluster.nodes.lost("one", "n0")
    cluster.nodes.settle()
    assert cluster.sentences == []
    cluster.nodes.settle(last=True)
    assert cluster.sentences == ["a worker on node 10.0.0.1 was lost; trial one goes on from step 0"]
