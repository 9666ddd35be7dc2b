"""A node with an address of its own is killed while it trains, and comes back: nothing is lost, and no number changes.

`make cluster-test` does more of it: late nodes, a partition, a slow network, a head that restarts, S3.
"""

import json
import re
import socket
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.network import network, possible
from tests.support.ray_hosts import ray_hosts
from tests.system.cluster import Records, Run, compare, undisturbed, write_study

pytestmark = [
    pytest.mark.skipif(not possible(), reason="needs root and /dev/net/tun for hosts of its own"),
    pytest.mark.timeout(2400),
]


@pytest.fixture
def shared(tiny_reference):
    """A folder that every node sees: each has a /tmp of its own."""
    with tempfile.TemporaryDirectory(prefix="tess-", dir="/var/tmp") as folder:
        reference = Path(folder) / "storage" / "reference"
        reference.mkdir(parents=True)
        (reference / tiny_reference.name).write_bytes(tiny_reference.read_bytes())
        yield Path(folder)


def test_hosts_reach_one_another_through_the_switch_alone():
    with network("a", "b") as net:
        a, b = net.hosts.values()
        assert pings(a, b)
        b.cut = True
        assert not pings(a, b)
        b.cut = False
        b.delay = 0.05
        assert pings(a, b)
        b.loss = 1.0
        assert not pings(a, b)


def pings(one, other) -> bool:
    """Whether a datagram reaches the other host. A socket belongs to the host on which it was made."""
    with other.call(lambda: socket.socket(type=socket.SOCK_DGRAM)) as receiver:
        receiver.bind((other.address, 0))
        receiver.settimeout(2.0)
        with one.call(lambda: socket.socket(type=socket.SOCK_DGRAM)) as sender:
            sender.sendto(b"here", receiver.getsockname())
        try:
            return receiver.recv(10) == b"here"
        except TimeoutError:
            return False


@pytest.mark.cluster
def test_a_node_that_is_killed_costs_nothing(shared, tiny_reference):
    study = write_study(shared, blocks=2, epochs=12)
    storage = shared / "storage"
    quiet = undisturbed(study, tiny_reference, shared / "quiet")
    with ray_hosts("a", "b") as hosts:
        hosts.start("a")
        hosts.start("b")
        run = Run(hosts, study, str(storage), Records(storage), shared / "log")
        assert run.wait_for_work("b"), run.text()
        hosts.nodes["b"].kill()
        run.end()
    assert "node 10.77.0.3" in run.text()
    assert compare(storage, quiet, run.changed) == dict.fromkeys(compare(quiet, quiet, 0), 0)


@pytest.mark.cluster
def test_trials_leave_a_node_that_is_asked_to_end(shared, tiny_reference):
    """No checkpoint is due for ten minutes: what the other node goes on from was kept because of the notice."""
    study = write_study(shared, blocks=1, epochs=400)
    study.write_text(study.read_text().replace("checkpoint_every = 0.0", "checkpoint_every = 600.0"))
    storage = shared / "storage"
    with ray_hosts("a", "b") as hosts:
        hosts.start("a")
        hosts.start("b")
        run = Run(hosts, study, str(storage), Records(storage), shared / "log")
        assert run.wait_for_work("b"), run.text()
        time.sleep(3.0)
        (trial,) = run.running("b")
        hosts.nodes["b"].terminate()
        run.end()
    said = r"node 10\.77\.0\.3 is to end in (2\d|30) s; the trial there keeps a checkpoint and goes on elsewhere"
    assert re.search(said, run.text()), run.text()
    assert "is lost" not in run.text()
    begins = [json.loads(path.read_text()) for path in (storage / "cluster/trials" / trial / "attempts").glob("?.json")]
    first, second = sorted(begins, key=lambda begin: begin["attempt"])
    assert (first["address"], second["address"]) == ("10.77.0.3", "10.77.0.2")
    assert second["start"] > 1
    quiet = undisturbed(study, tiny_reference, shared / "quiet")
    assert compare(storage, quiet, run.changed) == dict.fromkeys(compare(quiet, quiet, 0), 0)
