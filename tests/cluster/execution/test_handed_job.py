"""A job as Tune is handed it."""

from dataclasses import asdict

import pytest

from tesseral.cluster.execution.handed_job import HandedJob
from tesseral.cluster.execution.worker import Job

JOB = Job("runs", "water", "f" * 64, 3, 100, gpus=0.5)


def test_a_worker_reads_what_the_driver_hands_out():
    handed = HandedJob(asdict(JOB), {"CPU": 1.0}, {"ray.io/node-id": "!in(a,b)"}, 7, "c0de", {"torch": "2.13.0"})
    config = handed.config
    assert [type(value) for value in config.values()] == [str], "Tune keeps statistics of every number"
    assert HandedJob.read(config) == handed
    assert (handed.job, handed.trial) == (JOB, JOB.trial)


def test_the_code_is_compared_before_a_job_with_fields_of_other_code_is_made():
    handed = HandedJob.read(HandedJob(asdict(JOB) | {"later": 1}, {}, {}, 0, "c0de", {}).config)
    assert (handed.code, handed.trial) == ("c0de", JOB.trial)
    with pytest.raises(TypeError):
        _ = handed.job
