"""Room on the nodes of a cluster: waited for where one may join, refused at once where none ever can."""

from contextlib import contextmanager

import pytest

from tesseral.cluster.execution import ray_room
from tesseral.cluster.execution.needs import Needs
from tesseral.cluster.execution.ray_room import check_room, unused_gpus
from tesseral.study.errors import ClusterError


@pytest.fixture
def cluster(monkeypatch):
    """A cluster that is made up: what its nodes have at each look, what an autoscaler may add, and what is asked."""
    looks: list[list[dict[str, float]]] = []
    types: list[dict[str, float]] = []
    asked: list[dict[str, float]] = []

    @contextmanager
    def demanded(needs):
        asked.append(needs.bundle)
        yield
        asked.append({})

    def nodes():
        return [{"Resources": one} for one in (looks.pop(0) if len(looks) > 1 else looks[0])]

    monkeypatch.setattr(ray_room, "LOCAL", False)
    monkeypatch.setattr(ray_room, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(ray_room, "nodes", nodes)
    monkeypatch.setattr(ray_room, "node_types", lambda: types)
    monkeypatch.setattr(ray_room, "_demanded", demanded)
    return looks, types, asked


def test_a_node_that_joins_late_is_waited_for_and_that_is_said(cluster, recwarn):
    looks, _, asked = cluster
    looks += [[], [{}], [{}, {"CPU": 4.0}]]
    check_room(Needs(2))
    assert [str(warning.message) for warning in recwarn] == [
        "a trial needs 2 CPUs on one node; the cluster's 0 nodes have at most 0 CPUs; waiting 300 s for a node that "
        "has it"
    ]
    assert asked == [{"CPU": 2}, {}]  # a group of no nodes grows for demand alone, which ends


def test_after_the_wait_it_is_an_error(cluster):
    looks, *_ = cluster
    looks.append([{"CPU": 1.0}])
    sentence = "a trial needs 2 CPUs on one node; the cluster's 1 node has at most 1 CPU; lower"
    with pytest.raises(ClusterError, match=sentence):
        check_room(Needs(2), within=-1.0)


def test_what_an_autoscaler_can_add_is_not_waited_for(cluster, recwarn):
    looks, types, asked = cluster
    looks.append([{}])
    types += [{"CPU": 8.0}, {"CPU": 8.0, "GPU": 1.0}]
    check_room(Needs(8, 1.0))
    assert not recwarn.list
    with pytest.raises(ClusterError, match="and the 2 kinds that its autoscaler may add have at most 1 GPU; lower"):
        check_room(Needs(1, 2.0))
    assert asked == []


@pytest.mark.parametrize(
    ("gpus", "device", "there", "said"),
    [(0.0, "auto", 1.0, True), (0.0, "auto", 0.0, False), (0.0, "cpu", 1.0, False), (0.25, "auto", 1.0, False)],
)
def test_gpus_that_nothing_was_said_about_are_not_left_out_silently(cluster, gpus, device, there, said):
    cluster[0].append([{"CPU": 4.0, "GPU": there}])
    sentence = (
        'trials train on the CPU although there is 1 GPU: write gpus = "auto" in [resources] to use them, or device '
        '= "cpu" if this is meant'
    )
    assert unused_gpus(gpus, device) == (sentence if said else "")
