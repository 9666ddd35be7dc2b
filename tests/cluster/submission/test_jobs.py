"""The log of a job: each character is written once, however often the connection breaks."""

from types import SimpleNamespace

import pytest
from aiohttp import RequestInfo, ServerDisconnectedError, WSServerHandshakeError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from tesseral.cluster.submission import jobs
from tesseral.cluster.submission.jobs import Jobs
from tesseral.study.errors import ClusterError

LOG = "one\ntwo\nthree\n"
HEAD = URL("http://head:8265")
BREAKS = {
    5: RuntimeError("WebSocket connection closed unexpectedly with close code 1006"),
    0: ServerDisconnectedError(),
    8: ConnectionResetError(),
    1: WSServerHandshakeError(RequestInfo(HEAD, "GET", CIMultiDictProxy(CIMultiDict()), HEAD), (), status=502),
    14: RuntimeError("WebSocket connection closed unexpectedly with close code 1006"),
}
"""Characters after which a connection breaks → the error, in the order of the connections."""


class Client:
    """Ray's job client, whose connections break; the job runs until the last has broken."""

    def __init__(self, breaks: dict[int, Exception], answers: bool = True) -> None:
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
        status = "RUNNING" if self.breaks else "SUCCEEDED"
        told = {"metadata": {}, "driver_exit_code": 0, "message": "", "start_time": None}
        return SimpleNamespace(submission_id=job, status=status, **told)


@pytest.fixture
def followed(monkeypatch):
    """Follow a job of a client, at once."""
    monkeypatch.setattr(jobs, "REJOIN", 0.0)

    def follow(client: Client, write) -> jobs.JobStatus:
        known = object.__new__(Jobs)
        known.address, known._client = "http://head:8265", client
        return known.follow("tesseral-small-0-1", write)

    return follow


@pytest.mark.parametrize("breaks", [{}, BREAKS, dict(reversed(BREAKS.items()))])
def test_a_log_goes_on_where_its_connection_broke(followed, breaks):
    written: list[str] = []
    assert followed(Client(breaks), written.append).state == "SUCCEEDED"
    assert "".join(written) == LOG


def test_a_job_server_that_is_gone_is_given_up(followed, monkeypatch):
    monkeypatch.setattr(jobs, "PATIENCE", 0.0)
    with pytest.raises(ClusterError, match="http://head:8265 no longer answers; the job tesseral-small-0-1 may go on"):
        followed(Client(BREAKS, answers=False), lambda text: None)


def test_an_error_of_the_output_is_no_error_of_the_connection(followed):
    def full(text: str) -> None:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        followed(Client({}), full)
