"""A job server in memory: it stands for Ray's client, and starts no process."""

from types import SimpleNamespace
from typing import Any

import pytest

from tesseral.cluster.submission.jobs import Jobs

ADDRESS = "http://head:8265"


class JobClient:
    """Ray's job client, with jobs that run until they are stopped and write nothing."""

    def __init__(self) -> None:
        self.jobs: dict[str, SimpleNamespace] = {}

    def submit_job(self, entrypoint: str, submission_id: str, runtime_env: dict[str, Any], metadata: dict[str, str]):
        """Take a job, which then runs."""
        self.jobs[submission_id] = SimpleNamespace(
            submission_id=submission_id,
            status="RUNNING",
            metadata=metadata,
            driver_exit_code=None,
            message="",
            start_time=1000 * len(self.jobs),
        )

    def add(self, job: str, study: str, storage: str) -> None:
        """Take the job of a study as `tesseral submit` names it."""
        self.submit_job("", job, {}, {"tesseral.study": study, "tesseral.storage": storage})

    def list_jobs(self) -> list[SimpleNamespace]:
        """All jobs, in no order."""
        return [*self.jobs.values()]

    def get_job_info(self, job: str) -> SimpleNamespace:
        """One job."""
        return self.jobs[job]

    def stop_job(self, job: str) -> None:
        """Stop a job at once."""
        self.jobs[job].status = "STOPPED"


def join(monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    """Have every `Jobs` of a test ask this client, whatever its address."""

    def connect(jobs: Jobs, address: str) -> None:
        jobs.address, jobs._client = address, client

    monkeypatch.setattr(Jobs, "__init__", connect)
    monkeypatch.setattr(Jobs, "open_to_all", False)
