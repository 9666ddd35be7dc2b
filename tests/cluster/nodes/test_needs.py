"""What a trial reserves: fractions of GPUs, and what is said where no node can give it."""

import pytest

from tesseral.cluster.nodes.needs import Needs, describe

SMALL, LARGE = {"CPU": 4.0, "memory": 8e9}, {"CPU": 64.0, "GPU": 4.0, "memory": 256e9, "a100": 4.0}


@pytest.mark.parametrize(
    ("needs", "many"),
    [
        (Needs(1), 64),
        (Needs(2), 32),
        (Needs(1, 0.25), 16),
        (Needs(1, 0.3333), 12),
        (Needs(1, 1.0), 4),
        (Needs(1, memory=int(10e9)), 25),
        (Needs(1, custom={"a100": 2}), 2),
    ],
    ids=str,
)
def test_as_many_trials_run_on_a_node_as_the_scarcest_resource_allows(needs, many):
    assert needs.many(LARGE) == many


def test_alone_means_whole_gpus_or_every_core_of_the_largest_node():
    assert Needs(1, 0.25).alone([LARGE]).gpus == 1.0
    assert Needs(1, 0.25).alone([LARGE]).cpus == 1
    assert Needs(2).alone([SMALL, LARGE]).cpus == 64.0
    assert Needs(2).alone([SMALL, {"CPU": 1.0}]).cpus == 4.0
    assert not Needs(1, 1.0).shares
    assert Needs(1, 0.5).shares


@pytest.mark.parametrize(
    ("needs", "sentence"),
    [
        (Needs(4), ""),
        (
            Needs(1, 8),
            "a trial needs 8 GPUs on one node; the cluster's 2 nodes have at most 4 GPUs",
        ),
        (
            Needs(1, memory=int(300e9)),
            "a trial needs 300.0 GB of memory on one node; the cluster's 2 nodes have at most 256.0 GB of memory",
        ),
        (
            Needs(100, custom={"tpu": 1}),
            "a trial needs 100 CPUs and 1 of 'tpu' on one node; the cluster's 2 nodes have at most 64 CPUs and 0 of "
            "'tpu'",
        ),
    ],
    ids=["fits", "GPUs", "memory", "custom"],
)
def test_what_no_node_has_is_named_with_the_most_that_one_has(needs, sentence):
    assert needs.lacking([SMALL, LARGE]) == sentence


def test_what_lies_on_different_nodes_is_not_had():
    needs = Needs(32, 1)
    assert needs.lacking([{"CPU": 64.0}, {"CPU": 4.0, "GPU": 8.0}]) == (
        "a trial needs 32 CPUs and 1 GPU on one node; the cluster's 2 nodes have it on different ones only"
    )


def test_kinds_of_nodes_that_may_come_count():
    assert Needs(1, 1).lacking([SMALL]) != ""
    assert Needs(1, 1).lacking([SMALL], [{"CPU": 16.0, "GPU": 1.0}]) == ""
    assert "and the 1 kind that its autoscaler may add have at most 1 GPU" in Needs(1, 2).lacking(
        [SMALL], [{"CPU": 16.0, "GPU": 1.0}]
    )


def test_amounts_are_written_in_words():
    assert describe(Needs(2, 0.25, int(1.5e9), {"x": 1}).bundle) == "2 CPUs, 0.25 GPUs, 1.5 GB of memory and 1 of 'x'"
    assert describe(Needs(1).bundle) == "1 CPU"
    assert describe({}) == "nothing"
