"""The log of a job: each character is written once, however often the connection breaks."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from aiohttp import RequestInfo, ServerDisconnectedError, WSServerHandshakeError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from tesseral.cluster.submission import jobs
from tesseral.study.errors import ClusterError
from tests.support.job_client import ADDRESS, JobClient, join

JOB = "tesseral-small-0123abcd-1"
LOG = "one\ntwo\nthree\n"
HEAD = URL(ADDRESS)
BREAKS = {
    5: RuntimeError("WebSocket connection closed unexpectedly with close code 1006"),
    0: ServerDisconnectedError(),
    8: ConnectionResetError(),
    1: WSServerHandshakeError(RequestInfo(HEAD, "GET", CIMultiDictProxy(CIMultiDict()), HEAD), (), status=502),
    14: RuntimeError("WebSocket connection closed unexpectedly with close code 1006"),
}
"""Characters after which a connection breaks → the error, in the order of the connections."""


class Breaking(JobClient):
    """A client whose connections break. Its job ends once the last has broken."""

    def __init__(self, breaks: dict[int, Exception], answers: bool = True) -> None:
        super().__init__()
        self.add(JOB, "small", "/studies")
        self.breaks, self.answers = list(breaks.items()), answers

    async def tail_job_logs(self, job: str):
        length, error = self.breaks.pop(0) if self.breaks else (len(LOG), None)
        for start in range(0, length, 3):
            yield LOG[start : min(start + 3, length)]
        if error is not None:
            raise error

    def get_job_info(self, job: str) -> SimpleNamespace:
        if not self.answers:
            raise RuntimeError("Request failed with status code 502: bad gateway.")
        known = super().get_job_info(job)
        known.status = "RUNNING" if self.breaks else "SUCCEEDED"
        return known


@pytest.fixture
def followed(monkeypatch) -> Callable[[Breaking, Callable[[str], object]], jobs.JobStatus]:
    """Follow the job of a client, without pauses."""
    monkeypatch.setattr(jobs, "REJOIN", 0.0)

    def follow(client: Breaking, write: Callable[[str], object]) -> jobs.JobStatus:
        join(monkeypatch, client)
        return jobs.Jobs(ADDRESS).follow(JOB, write)

    return follow


@pytest.mark.parametrize("breaks", [{}, BREAKS, dict(reversed(BREAKS.items()))])
def test_a_log_goes_on_where_its_connection_broke(followed, breaks):
    written: list[str] = []
    assert followed(Breaking(breaks), written.append).state == "SUCCEEDED"
    assert "".join(written) == LOG


def test_a_job_server_that_is_gone_is_given_up(followed, monkeypatch):
    monkeypatch.setattr(jobs, "PATIENCE", 0.0)
    with pytest.raises(ClusterError, match=f"{ADDRESS} no longer answers; the job {JOB} may go on"):
        followed(Breaking(BREAKS, answers=False), lambda text: None)


def test_an_error_of_the_output_is_no_error_of_the_connection(followed):
    def full(text: str) -> None:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        followed(Breaking({}), full)
