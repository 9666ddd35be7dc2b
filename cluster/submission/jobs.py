"""The jobs of a Ray cluster: submitted, found again, followed and stopped, through its job server.

A job belongs to a study, or to the reference data of a recipe, in a storage. Its id names them and counts the starts,
so that of two submissions at once one is refused, and finds the other. The token of a cluster is read by Ray from its
environment variables or file and travels in a header: it is in no argument, URL, record or log.
"""

import asyncio
import json
import logging
import os
import re
import shlex
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tesseral.cluster.nodes.code import FOLDER
from tesseral.cluster.nodes.provenance import SUBMITTED, provenance
from tesseral.cluster.submission.shipment import EXCLUDED, Shipment
from tesseral.study.configuration.trial import digest
from tesseral.study.errors import ClusterError, TesseralError
from tesseral.study.records.store import Store

ANSWER = 5.0
"""Seconds in which the job server must answer."""
REJOIN = 2.0
"""Seconds between two attempts to follow a log again after the connection was lost."""
PATIENCE = 300.0
"""Seconds for which a job server that does not answer is tried again while a log is followed."""
STOPPED_WITHIN = 20.0
"""Seconds in which a job that is stopped must have ended: Ray kills it after three."""
INSTALL = "install 'ray[default]'"
WHERE_FROM = (
    "the token of the cluster is read from RAY_AUTH_TOKEN, from the file that RAY_AUTH_TOKEN_PATH names, or from "
    "~/.ray/auth_token, with RAY_AUTH_MODE=token"
)


@dataclass(frozen=True)
class JobStatus:
    """A job of a study as the job server knows it."""

    id: str
    state: str
    """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    study: str
    storage: str
    content: str
    """What was submitted, see `Shipment.content`."""
    code: int | None
    """Exit code of the driver, once it has ended by itself."""
    message: str
    started: float | None
    """Seconds since 1970, by the cluster's clock."""

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("PENDING", "RUNNING")


class Jobs:
    """The job server of a cluster.

    :param address: such as `http://head:8265`.
    :raises TesseralError: if the address has another form, or the token is refused.
    :raises ClusterError: if no job server answers there.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        _check(self.address)
        with self._asked():
            from ray.job_submission import JobSubmissionClient  # here: Ray takes a second to import

            for name in ("", ".dashboard.modules.dashboard_sdk", ".dashboard.modules.job.sdk"):
                logging.getLogger(f"ray{name}").setLevel(logging.ERROR)  # they set levels when they are imported
            with _this_address(self.address):
                self._client = JobSubmissionClient(self.address)

    @property
    def open_to_all(self) -> bool:
        """Whether the job server takes jobs from anyone who reaches it: it asks for no token."""
        import requests

        try:
            return requests.get(f"{self.address}/api/jobs/", timeout=ANSWER).status_code == 200
        except requests.RequestException:
            return False

    def of(self, study: str, storage: str | None = None) -> list[JobStatus]:
        """The jobs of a study that the cluster remembers, in order of their starts.

        :param study: its name; of a recipe, `reference <name>`.
        :param storage: folder or URL, written in any way; None for any.
        """
        with self._asked():
            listed = self._client.list_jobs()
        known = [_status(job) for job in listed if job.submission_id and (job.metadata or {}).get("tesseral.study")]
        place = None if storage is None else Store(storage).url
        own = [job for job in known if job.study == study and place in (None, job.storage)]
        return sorted(own, key=lambda job: start_number(job.id))

    def status(self, job: str) -> JobStatus:
        """The present state of a job.

        :param job: its id.
        """
        with self._asked():
            return _status(self._client.get_job_info(job))

    def submit(self, request: "Request", start: int) -> str:
        """Submit a job, and return its id.

        :param request: what is to run.
        :param start: which start of the study it is, from 1.
        :raises FileExistsError: if the cluster has a job of this id.
        """
        name = request.id(start)
        with self._asked():
            try:
                self._client.submit_job(
                    entrypoint=request.entrypoint,
                    submission_id=name,
                    runtime_env=request.runtime_env,
                    metadata=request.metadata,
                )
            except RuntimeError as error:
                if "already exists" in str(error):
                    raise FileExistsError(name) from None
                raise
        return name

    def follow(self, job: str, write: Callable[[str], object]) -> JobStatus:
        """Write the log of a job, from its beginning and until its end.

        :param job: its id.
        :param write: called with each piece of text.
        :returns: how it ended.
        :raises ClusterError: if the job server is lost for longer than `PATIENCE`.
        """
        written, lost = 0, None
        while True:
            status = None
            written, error = asyncio.run(self._tail(job, written, write))
            try:
                status = self.status(job)
            except ClusterError as unanswered:
                error = unanswered
            if status is not None and status.live:
                lost = None
            elif status is not None and error is None:
                return status
            else:
                lost = time.monotonic() if lost is None else lost
                if time.monotonic() - lost > PATIENCE:
                    raise ClusterError(f"{self.address} no longer answers; the job {job} may go on") from error
            time.sleep(REJOIN)

    async def _tail(self, job: str, skip: int, write: Callable[[str], object]) -> tuple[int, Exception | None]:
        """Write what follows the first `skip` characters of a log, which each connection sends from its beginning.

        :returns: how many are written now, and the error of the connection if it broke.
        """
        from aiohttp import ClientError  # here: it is there where Ray's job client is

        pieces, seen = self._client.tail_job_logs(job), 0
        while True:
            try:
                text = await anext(pieces)
            except StopAsyncIteration:
                return max(seen, skip), None
            except (OSError, RuntimeError, ClientError) as error:  # not those of `write`, which are raised
                return max(seen, skip), error
            new, seen = text[max(skip - seen, 0) :], seen + len(text)
            if new:
                write(new)

    def stop(self, job: str) -> JobStatus:
        """Stop a job: its driver gets SIGTERM, and SIGKILL after 3 s. Return how it ended.

        :param job: its id.
        :raises ClusterError: if it has not ended within `STOPPED_WITHIN`.
        """
        with self._asked():
            self._client.stop_job(job)
        end = time.monotonic() + STOPPED_WITHIN
        while (status := self.status(job)).live:
            if time.monotonic() > end:
                raise ClusterError(f"the job {job} has not ended within {STOPPED_WITHIN:.0f} s of being stopped")
            time.sleep(0.2)
        return status

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Turn what Ray raises into one sentence."""
        try:
            yield
        except (TesseralError, ClusterError, FileExistsError):
            raise
        except ImportError as error:
            raise TesseralError(f"jobs need Ray with its job server: {INSTALL} ({error})") from None
        except Exception as error:  # noqa: BLE001 - Ray's own classes have nothing in common
            raise _explained(self.address, error) from None


@dataclass(frozen=True)
class Request:
    """A command of tesseral that is to run as a job.

    :param shipment: its files.
    :param command: the words after `tesseral`; the study file or recipe is that in the shipment.
    :param storage: folder or URL that all nodes share.
    """

    shipment: Shipment
    command: tuple[str, ...]
    storage: str

    @property
    def study(self) -> str:
        """Name of the study; of a recipe, `reference <name>`."""
        return f"reference {self.shipment.name}" if self.shipment.is_recipe else self.shipment.name

    def id(self, start: int) -> str:
        """Id of the job: stable for a study, its storage and the number of the start.

        :param start: from 1.
        """
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", self.study)
        return f"tesseral-{name}-{digest([self.study, self.storage])[:8]}-{start}"

    @property
    def entrypoint(self) -> str:
        """What the head's shell runs. `exec`: a signal then reaches the driver, and its end is the job's."""
        return "exec " + shlex.join(["python", "-m", "tesseral.cluster.commands.cli", *self.command])

    @property
    def runtime_env(self) -> dict[str, Any]:
        """The code, the files, and the versions here, for the records and for a comparison there."""
        known = provenance()
        here = {"commit": known["commit"], "content": self.shipment.content}
        here |= {name: known["versions"].get(name) for name in ("python", "ray")}
        return {
            "working_dir": str(self.shipment.folder),
            "py_modules": [str(FOLDER)],
            "excludes": list(EXCLUDED),
            "env_vars": {SUBMITTED: json.dumps(here)},
        }

    @property
    def metadata(self) -> dict[str, str]:
        """By which the job is found again."""
        own = {"study": self.study, "storage": self.storage, "content": self.shipment.content}
        return {f"tesseral.{key}": value for key, value in own.items()}

    def line(self, address: str, start: int) -> str:
        """The plain command of Ray that does the same.

        :param address: of the job server.
        :param start: which start of the study it is.
        """
        words = ["ray", "job", "submit", "--address", address, "--submission-id", self.id(start)]
        words += ["--runtime-env-json", json.dumps(self.runtime_env), "--metadata-json", json.dumps(self.metadata)]
        return f"{shlex.join(words)} -- {self.entrypoint}"


def start_number(job: str) -> int:
    """Which start of a study a job is, by its id; 0 if it is not one of ours.

    :param job: its id.
    """
    match = re.fullmatch(r"tesseral-.*-[0-9a-f]{8}-(\d+)", job)
    return int(match[1]) if match else 0


def _status(job: Any) -> JobStatus:
    known = job.metadata or {}
    return JobStatus(
        id=job.submission_id,
        state=str(getattr(job.status, "value", job.status)),
        study=known.get("tesseral.study", ""),
        storage=known.get("tesseral.storage", ""),
        content=known.get("tesseral.content", ""),
        code=job.driver_exit_code,
        message=job.message or "",
        started=None if job.start_time is None else job.start_time / 1000,
    )


@contextmanager
def _this_address(address: str) -> Iterator[None]:
    """Have Ray use this address: by itself it prefers those of RAY_API_SERVER_ADDRESS and RAY_ADDRESS."""
    before = os.environ.get("RAY_API_SERVER_ADDRESS")
    os.environ["RAY_API_SERVER_ADDRESS"] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ["RAY_API_SERVER_ADDRESS"]
        else:
            os.environ["RAY_API_SERVER_ADDRESS"] = before


def _check(address: str) -> None:
    """Check that an address is that of a job server, and that something listens there. Ray itself tries for minutes."""
    parts = urlsplit(address)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in ("http", "https") or host is None or "@" in parts.netloc or parts.query:
        raise TesseralError(
            "--address: expected the address of a Ray cluster's job server, such as http://head:8265, "
            f"got {address.rpartition('@')[2]!r}"
        )
    try:
        with socket.create_connection((host, port or {"http": 80, "https": 443}[parts.scheme]), timeout=ANSWER):
            pass
    except OSError as error:
        raise ClusterError(
            f"--address: no job server answers at {address} ({error.strerror or error}); it is the dashboard's "
            "address, which `ray start --head` prints"
        ) from error


def _explained(address: str, error: Exception) -> TesseralError | ClusterError:
    text = str(error).strip()
    kind, first = type(error).__name__, (text.splitlines() or [type(error).__name__])[0].rstrip(".")
    if kind == "AuthenticationError" or "token" in text.lower():
        missing = "Missing" in text or "no authentication token" in text.lower()
        why = "asks for a token and was shown none" if missing else "refuses this token"
        return TesseralError(f"--address: the cluster at {address} {why}; {WHERE_FROM}")
    if "ray[default]" in text:
        return TesseralError(f"jobs need Ray with its job server: {INSTALL}")
    if "No available agent" in text:
        return ClusterError(
            f"the cluster at {address} takes no job: its head has no job agent, whose port (52365) another Ray on that "
            "machine may have; see --dashboard-agent-listen-port of ray start"
        )
    if "status code 413" in text:
        return ClusterError("the files of the job are larger than the 100 MiB that Ray takes")
    return ClusterError(f"the job server at {address} cannot be used: {first}")
