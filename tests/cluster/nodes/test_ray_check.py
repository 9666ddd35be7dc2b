"""What a node lacks is told in a sentence; `make cluster-test` asks real nodes."""

import json
from functools import partial

import pytest

from tesseral.cluster.nodes import ray_check
from tesseral.cluster.nodes.code import code_hash
from tesseral.cluster.nodes.needs import Needs
from tesseral.cluster.nodes.packing import Usage
from tesseral.cluster.nodes.provenance import SUBMITTED
from tesseral.cluster.nodes.ray_check import Asked, Look, look, other_versions
from tesseral.cluster.nodes.ray_room import probe
from tesseral.study.errors import StoreError
from tesseral.study.records.store import Store

PROBE = ".probe.00"


def test_a_node_that_shares_all_lacks_nothing(store, tmp_path):
    (tmp_path / "own_of_this_test.py").write_text("")
    store.create(PROBE, b"the driver")
    seen = look(Asked(store.url, PROBE, ("own_of_this_test", "json", "os.path"), str(tmp_path)))
    assert (seen.code, seen.missing, seen.reads, seen.trouble) == (code_hash(), (), True, "")
    assert store.read(seen.wrote) == b"a node"
    assert ray_check._lacks(seen, store, {}) == ""


def test_a_storage_that_is_not_shared_is_seen_from_either_side(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_check.time, "sleep", lambda seconds: None)
    ours, theirs = Store(tmp_path / "ours"), Store(tmp_path / "theirs")
    ours.create(PROBE, b"the driver")
    sentence = f"what is written to {ours.url} on one node is not there on the other; name a storage that all share"
    seen = look(Asked(theirs.url, PROBE))
    assert (seen.reads, seen.wrote, theirs.paths()) == (False, "", []), (
        "nothing is written to a folder of the node's own"
    )
    assert ray_check._lacks(seen, ours, {}) == sentence
    theirs.create(PROBE, b"the driver")  # a copy that goes one way only
    assert ray_check._lacks(look(Asked(theirs.url, PROBE)), ours, {}) == sentence


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (Look("0" * 64, (), True, "x"), "its code of tesseral (000000000000) is not that of the driver ("),
        (Look(code_hash(), ("my_network", "pyscf"), True, "x"), "it has no module 'my_network' and no module 'pyscf'"),
        (
            Look(code_hash(), (), True, "x", "", {"torch": "2.12.1+cpu", "numpy": "2.0"}),
            "it has torch 2.12.1+cpu, the driver torch 2.13.0; install the same on every node",
        ),
        (Look(code_hash(), (), False, "", "no credentials"), "it cannot use the storage: no credentials"),
        (RuntimeError("The function failed:\n  No module named 'tesseral'\nraylet"), "No module named 'tesseral'"),
    ],
)
def test_what_a_node_lacks_is_one_sentence(tmp_path, seen, sentence):
    assert ray_check._lacks(seen, Store(tmp_path), {"torch": "2.13.0", "numpy": "2.0", "e3nn": "0.6"}).startswith(
        sentence
    )


def test_a_missing_module_and_a_storage_in_trouble_stop_no_look(tmp_path, monkeypatch):
    def fail(*_):
        raise StoreError("the disk is gone")

    monkeypatch.setattr(Store, "read", fail)
    seen = look(Asked(str(tmp_path), PROBE, ("nowhere", "nowhere.inside")))
    assert (seen.missing, seen.reads, seen.trouble) == (("nowhere", "nowhere.inside"), False, "the disk is gone")


def test_other_versions_where_it_was_submitted_are_said(monkeypatch):
    monkeypatch.delenv(SUBMITTED, raising=False)
    assert other_versions() == ""
    here = {"python": ray_check.platform.python_version(), "ray": ray_check.ray.__version__}
    monkeypatch.setenv(SUBMITTED, json.dumps(here))
    assert other_versions() == ""
    monkeypatch.setenv(SUBMITTED, json.dumps(here | {"python": "3.13.0"}))
    assert other_versions() == f"the cluster has Python {here['python']}; submitted from Python 3.13.0"


@pytest.mark.long
def test_real_nodes_are_asked_each(tmp_path, monkeypatch):
    """On Ray: the node answers, also without a core free; one that does not exist is told, and work avoids a node."""
    monkeypatch.setattr(ray_check, "CHECK_WITHIN", 240.0)
    from tesseral.cluster.nodes.ray_session import as_completed, ray, session

    store = Store(tmp_path)
    store.create(PROBE, b"the driver")
    with session():
        (node,) = ray.nodes()
        there = {node["NodeID"]: node, "e" * 56: node}
        looks = ray_check._looks(there, Asked(store.url, PROBE, ("nowhere",)))
        results = dict(as_completed(lambda item: item + 1, [1, 2], lambda item, why: 0, without=["e" * 56]))
        used = probe(Needs(), partial(Usage, 5), ["e" * 56])
    assert (results, used) == ({1: 2, 2: 3}, Usage(5))
    seen = looks[node["NodeID"]]
    assert (seen.missing, seen.reads) == (("nowhere",), True)
    assert ray_check._lacks(seen, store, {}) == "it has no module 'nowhere'"
    assert ray_check._lacks(looks["e" * 56], store, {})
