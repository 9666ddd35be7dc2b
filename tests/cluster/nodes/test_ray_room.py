"""Room on the nodes of a cluster: waited for where one may join, refused at once where none ever can."""

import json
import math
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tesseral.cluster.nodes import ray_room
from tesseral.cluster.nodes.needs import Needs
from tesseral.cluster.nodes.ray_room import check_room, ending, too_small, unused_gpus
from tesseral.study.errors import ClusterError
from tests.support.ray_head import clean, free_port, head


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
        there = looks.pop(0) if len(looks) > 1 else looks[0]
        return [{"Resources": one, "NodeManagerAddress": f"10.0.0.{n}"} for n, one in enumerate(there, 1)]

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


def test_nodes_that_are_too_small_for_any_trial_are_named_in_one_sentence(cluster):
    """A head without cores is none of them."""
    looks, *_ = cluster
    large, small = {"CPU": 4.0, "memory": 8e9}, {"CPU": 4.0, "memory": 1e9}
    needs = Needs(2, memory=2 * 10**9)
    said = "no trial runs on {}, which {} less than one needs, 2 CPUs and 2.0 GB of memory"
    for there, sentence in (
        ([{}, large], ""),
        ([{}, large, small], said.format("node 10.0.0.3", "has")),
        ([small, large, {"CPU": 1.0, "memory": 8e9}], said.format("nodes 10.0.0.1 and 10.0.0.3", "have")),
    ):
        looks[:] = [there]
        assert too_small(needs) == sentence


def test_a_node_is_to_end_by_a_deadline_or_without_one(monkeypatch):
    monkeypatch.setattr(ray_room.time, "time", lambda: 1000.0)
    told = {"a": 1_030_000, "b": 0, "c": 990_000}
    monkeypatch.setattr(ray_room.ray._private.state.state, "get_draining_nodes", lambda: told)
    assert ending() == {"a": 30.0, "b": math.inf, "c": 0.0}


AUTOSCALER = {
    "cluster_name": "small",
    "max_workers": 1,
    "idle_timeout_minutes": 5,
    "upscaling_speed": 1.0,
    **{key: {} for key in ("auth", "docker", "file_mounts")},
    **{key: [] for key in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
    **{key: [] for key in ("initialization_commands", "setup_commands", "head_setup_commands")},
    **{key: [] for key in ("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")},
    "file_mounts_sync_continuously": False,
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 2}, "node_config": {}, "min_workers": 0, "max_workers": 1},
    },
}
"""Ray's own autoscaler with its provider of nodes on this machine: a group that begins without any."""

ROOM = """
from tesseral.cluster.nodes.needs import Needs
from tesseral.cluster.nodes.ray_room import check_room, nodes
from tesseral.cluster.nodes.ray_session import session
with session():
    check_room(Needs(2), within=120.0)
    print([node["Resources"]["CPU"] for node in nodes() if "CPU" in node["Resources"]])
"""


@pytest.mark.cluster
@pytest.mark.timeout(1200)
def test_a_group_of_no_nodes_grows_for_a_study(tmp_path):
    config, port = tmp_path / "autoscaler.json", free_port()
    address = f"127.0.0.1:{port}"
    config.write_text(json.dumps(AUTOSCALER | {"provider": {"type": "fake_multinode", "gcs_address": address}}))
    options = f"--autoscaling-config={config}", f"--port={port}"
    with head(0, *options, RAY_FAKE_CLUSTER="1", AUTOSCALER_UPDATE_INTERVAL_S="1") as running:
        environment = clean() | running.environment | {"RAY_ADDRESS": address}
        environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # else Ray takes this machine's address for loopback's
        command = [sys.executable, "-c", ROOM]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[2.0]\n"
    assert "waiting 120 s for a node that has it" in done.stderr
