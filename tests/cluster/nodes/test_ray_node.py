"""A node of a job's own Ray: ports that no other job takes, an address that others reach, and no other Ray."""

import os
import signal
import socket
import subprocess
import sys
from itertools import pairwise

import pytest

from tesseral.cluster.nodes import ray_machine, ray_node
from tesseral.cluster.nodes.ray_node import (
    FIRST_PORT,
    HEAD_SERVERS,
    PORTS,
    RANGES,
    SERVERS,
    WORKERS_FROM,
    Ports,
    answers,
    own_address,
    own_ports,
)
from tesseral.study.errors import ClusterError

EPHEMERAL = 32_768
"""First port that Linux gives to outgoing connections."""


class TestPorts:
    def test_two_nodes_at_once_share_no_port(self):
        with own_ports(7) as first, own_ports(7) as second, own_ports(7) as third:
            starts = sorted(ports.first for ports in (first, second, third))
        assert all(after - before >= PORTS for before, after in pairwise(starts))

    def test_a_range_is_free_again_once_its_process_has_ended(self):
        holder = "from tesseral.cluster.nodes.ray_node import own_ports\nwith own_ports(3) as p: print(p.first)"
        first = int(subprocess.run([sys.executable, "-c", holder], capture_output=True, check=True).stdout)
        with own_ports(3) as ports:
            assert ports.first == first

    def test_a_range_in_which_something_listens_is_left_out(self):
        with own_ports(11) as before:
            pass
        with socket.socket() as other:
            other.bind(("", before.first + 4))
            other.listen()
            with own_ports(11) as ports:
                assert ports.first != before.first

    def test_the_ranges_lie_below_the_ports_of_outgoing_connections(self):
        assert FIRST_PORT + PORTS * RANGES <= EPHEMERAL

    def test_every_server_of_a_head_has_a_port_of_its_own_and_so_has_each_worker(self):
        ports = Ports(20_000)
        named = [option.split("=") for option in ports.options(head=True)]
        values = [int(value) for name, value in named] + [int(value) for value in ports.environment().values()]
        assert len(set(values)) == len(values) == len(SERVERS) + len(HEAD_SERVERS) + 2 + 2
        first, last = (int(dict(named)[f"--{end}-worker-port"]) for end in ("min", "max"))
        assert max(set(values) - {first, last}) < first == 20_000 + WORKERS_FROM
        assert last == 20_000 + PORTS - 1
        assert int(dict(named)["--port"]) == ports.head

    def test_options_are_those_of_ray(self):
        from ray.scripts.scripts import start

        known = {option for parameter in start.params for option in parameter.opts}
        assert {option.split("=")[0] for option in Ports(20_000).options(head=True)} <= known

    def test_all_taken_is_one_sentence(self, monkeypatch):
        monkeypatch.setattr(ray_node, "RANGES", 1)
        with (
            own_ports(),
            pytest.raises(ClusterError, match=r"expected 512 free ports between 11000 and 11511"),
            own_ports(),
        ):
            pass


class TestOwnAddress:
    def test_it_is_an_address_of_this_machine(self):
        assert own_address("127.0.0.1") == "127.0.0.1"

    def test_an_unknown_machine_is_one_sentence(self):
        with pytest.raises(ClusterError, match=r"expected a machine of this job, got 'no\.such\.host\.invalid'"):
            own_address("no.such.host.invalid")


def test_answers_only_where_something_listens():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert not answers(address)
        server.listen()
        assert answers(address)


class TestCores:
    def test_slurm_gives_a_part_of_the_machine(self, monkeypatch):
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
        assert ray_machine.cores() == 1

    def test_no_more_than_the_machine_has(self, monkeypatch):
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", "100000")
        assert ray_machine.cores() == len(os.sched_getaffinity(0))

    @pytest.mark.parametrize("value", ["", "0", "2(x3)"])
    def test_what_is_no_number_is_passed_over(self, monkeypatch, value):
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", value)
        assert ray_machine.cores() == len(os.sched_getaffinity(0))


def node(*arguments: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tesseral.cluster.nodes.ray_node", *arguments]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "SLURM_"))}
    return subprocess.Popen(
        command,
        env=clean | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def test_without_a_token_no_ray_starts():
    with node("head") as process:
        output, said = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert said == "tesseral: RAY_AUTH_TOKEN: expected the token of this job, got none\n"


def test_a_worker_without_its_head_is_a_mistake():
    with node("worker") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "expected --address HOST:PORT with a worker" in said


COUNT = """
import time
import ray
ray.init(log_to_driver=False, logging_level="error")
while (seen := (sum(node["Alive"] for node in ray.nodes()), ray.cluster_resources().get("CPU"))) != (2, 1.0):
    time.sleep(0.2)
print("seen", *seen)
"""


@pytest.mark.long
def test_two_jobs_on_one_machine_have_two_clusters_and_end_their_own():
    heads = [node("head", "--job", "5", RAY_AUTH_TOKEN=character * 64) for character in "ab"]
    addresses = [head.stdout.readline().strip() for head in heads]
    assert len(set(addresses)) == 2
    worker = node("worker", "--address", addresses[1], "--job", "5", RAY_AUTH_TOKEN="b" * 64, SLURM_CPUS_ON_NODE="1")
    heads[0].send_signal(signal.SIGTERM)
    assert heads[0].wait(30) == 0
    assert not answers(addresses[0])
    environment = os.environ | {"RAY_ADDRESS": addresses[1], "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "b" * 64}
    counted = subprocess.run(
        [sys.executable, "-c", COUNT], env=environment, capture_output=True, text=True, check=True, timeout=240
    )
    assert "seen 2 1.0\n" in counted.stdout
    for process in (heads[1], worker):
        process.send_signal(signal.SIGTERM)
    assert [process.wait(40) for process in (heads[1], worker)] == [0, 0]
    for process in (*heads, worker):
        process.communicate()
