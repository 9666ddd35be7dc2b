"""Packing by memory, from probes that are made up: no GPU is needed here."""

from dataclasses import replace

import pytest

from tesseral.cluster.nodes.needs import Needs
from tesseral.cluster.nodes.packing import MARGIN, Usage, pack
from tesseral.study.design.study_file import Resources
from tesseral.study.errors import StudyFileError

GB = 10**9
USAGE = Usage(resident=int(1.21 * GB), gpu=10 * GB, context=1 * GB, gpu_size=80 * GB)


def test_numbers_of_the_study_file_are_taken_as_they_are():
    asked = Resources(cpus=2, gpus=0.25, memory=1.5, custom={"a100": 1.0})
    assert pack(asked) == Needs(2, 0.25, int(1.5e9), {"a100": 1.0})


@pytest.mark.parametrize(
    ("used", "trials"),
    [(10, 5), (1, 34), (25, 2), (30, 2), (31, 1), (60, 1), (200, 1)],
)
def test_the_share_of_a_gpu_follows_from_the_probe_and_the_size_of_the_device(used, trials):
    """Trials × (1.3 × used + 1 GB) ≤ 80 GB; one that needs more than the whole has the whole."""
    needs = pack(Resources(gpus="auto"), replace(USAGE, gpu=used * GB))
    assert needs.many({"CPU": 1000, "GPU": 1.0}) == trials
    assert needs.many({"CPU": 1000, "GPU": 8.0}) == 8 * trials
    assert trials == 1 or trials * (MARGIN * used + 1) <= 80 < (trials + 1) * (MARGIN * used + 1)
    assert needs.gpus * trials <= 1


def test_without_a_gpu_trials_are_packed_by_threads_and_memory():
    usage = Usage(resident=int(1.21 * GB))
    needs = pack(Resources(cpus=2, gpus="auto", memory="auto"), usage)
    assert needs == Needs(2, 0.0, int(1.6e9)), "1.3 × 1.21 GB, rounded up to 0.1 GB"
    assert needs.many({"CPU": 64, "memory": 16e9}) == 10, "its memory, not its cores"
    assert needs.many({"CPU": 8, "memory": 16e9}) == 4, "its cores, not its memory"


def test_what_is_to_be_measured_needs_a_probe():
    with pytest.raises(ValueError, match="probe"):
        pack(Resources(gpus="auto"))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (Resources(gpus=1.5), r"resources\.gpus: expected a fraction below 1, or a whole number, got 1\.5"),
        (Resources(custom={"GPU": 1.0}), r"resources\.custom\.GPU: expected another name than CPU, GPU, memory"),
    ],
    ids=["gpus", "custom"],
)
def test_what_no_machine_can_give_is_refused(asked, sentence):
    with pytest.raises(StudyFileError, match=sentence):
        pack(asked)
