"""The probe: what a process takes that trains a few steps of an arm."""

import torch

from tesseral.cluster.execution.probe import Sample, measure_usage
from tesseral.models.training import timed_step
from tesseral.study.study import Study


def sample(storage, study_file) -> Sample:
    arms = Study.load(study_file).arms
    return Sample(str(storage), str(study_file.parent), (arms[0].configuration,))


def test_a_probe_on_the_cpu_measures_the_whole_process(storage, study_file):
    usage = measure_usage(sample(storage, study_file), gpu=False)
    assert 1e8 < usage.resident < 1e10
    assert (usage.gpu, usage.context, usage.gpu_size) == (0, 0, 0)


def test_a_probe_that_fills_the_gpu_takes_the_whole_of_it(storage, study_file, monkeypatch):
    """A GPU that is made up: 16 GB, of which CUDA itself takes one."""

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("tesseral.models.training.device.find_device", lambda name: torch.device("cuda:0"))
    monkeypatch.setattr(timed_step, "measure_step", full)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5 * 2**30, 16 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 10 * 2**30)
    usage = measure_usage(sample(storage, study_file), gpu=True)
    assert (usage.gpu, usage.context, usage.gpu_size) == (16 * 2**30, 2**30, 16 * 2**30)
