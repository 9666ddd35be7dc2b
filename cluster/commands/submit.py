"""`tesseral submit`: a study is run, or reference data are made, by a job on a Ray cluster."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tesseral.cluster.commands.display import console, errors
from tesseral.cluster.commands.options import Address, Preset, Storage
from tesseral.cluster.commands.signals import Interrupted, raised
from tesseral.study.errors import TesseralError
from tesseral.study.records.store import Store

if TYPE_CHECKING:
    from tesseral.cluster.submission.jobs import Jobs, JobStatus, Request


def submit(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="Study file, or recipe.", show_default=False)],
    address: Address,
    preset: Preset = None,
    storage: Storage = "runs",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the job's log to its end; Ctrl-C leaves the job running.")
    ] = True,
) -> None:
    """Run a study, or make the reference data of a recipe, on a Ray cluster. The same command again resumes it.

    The code, the file, the recipe that it names and modules of your own are shipped by content, and nothing else. While
    the job runs, the same command follows it. The exit code is that of the job.

    Example: `tesseral submit study/examples/water.toml --address http://head:8265 --storage s3://bucket/studies`

    Example: `tesseral submit study/examples/quickstart.toml --address http://head:8265 --storage s3://bucket/studies`
    """
    shared = shared_storage(storage)

    from tesseral.cluster.submission.jobs import Jobs, Request
    from tesseral.cluster.submission.shipment import ship

    shipment = ship(file, preset)
    words = ["reference", "make"] if shipment.is_recipe else ["run"]
    words += [shipment.file, "--storage", shared]
    words += ["--preset", preset] if preset and not shipment.is_recipe else []
    request = Request(shipment, tuple(words), shared)
    jobs = Jobs(address)
    if jobs.open_to_all:
        _warn(
            f"the cluster at {jobs.address} asks for no token: whoever reaches it can run code there; start Ray with "
            "RAY_AUTH_MODE=token"
        )
    job = _begin(jobs, request)
    if wait:
        _follow(jobs, job, request.study)


def shared_storage(storage: str) -> str:
    """The storage as all machines can name it.

    :param storage: folder or URL.
    :raises TesseralError: if it is a path relative to the present folder, which another machine does not have.
    """
    if "://" not in storage and not Path(storage).is_absolute():
        raise TesseralError(
            "--storage: expected a storage that all nodes share, a URL such as s3://bucket/studies or an absolute path "
            f"on a shared file system, got the relative path {storage!r}"
        )
    return Store(storage).url


def _begin(jobs: "Jobs", request: "Request") -> str:
    """Submit the job, unless one of this study runs already; return its id."""
    while True:
        known = jobs.of(request.study, request.storage)
        if live := next((job for job in known if job.live), None):
            return _attached(live, request)
        from tesseral.cluster.submission.jobs import start_number

        start = max((start_number(job.id) for job in known), default=0) + 1
        try:
            name = jobs.submit(request, start)
        except FileExistsError:
            continue  # another command has submitted it meanwhile
        console.print(f"Submitted {name}. The same by Ray's own command:", soft_wrap=True)
        console.print(request.line(jobs.address, start), soft_wrap=True)
        return name


def _attached(job: "JobStatus", request: "Request") -> str:
    console.print(f"{job.id} is {job.state.lower()}: nothing is submitted", soft_wrap=True)
    if job.content != request.shipment.content:
        _warn(f"{job.id} was submitted with other files or other code, and goes on with those")
    return job.id


def _follow(jobs: "Jobs", job: str, study: str) -> None:
    """Write the log of a study's job to its end, and exit with the job's code."""

    def write(text: str) -> None:
        console.print(text, end="", soft_wrap=True)
        sys.stdout.flush()

    try:
        with raised():
            ended = jobs.follow(job, write)
    except KeyboardInterrupt as error:
        stop = shlex.join(["tesseral", "stop", study, "--address", jobs.address])
        console.print(
            f"Detached: {job} goes on; the same command follows it again, and {stop} stops it.", soft_wrap=True
        )
        sys.exit(error.code if isinstance(error, Interrupted) else 130)
    _finish(ended)


def _finish(job: "JobStatus") -> None:
    if job.state == "SUCCEEDED":
        return
    if job.state == "STOPPED":
        _end(f"{job.id} was stopped; the same command continues from here", 143)
    if job.code is None or job.code < 0:  # the driver did not end by itself
        why = (job.message.strip().splitlines() or ["Ray says no more"])[0].rstrip(".")
        _end(f"{job.id} failed: {why}; the same command continues from here", 1)
    sys.exit(job.code)


def _end(sentence: str, code: int) -> NoReturn:
    errors.print(f"tesseral: {sentence}", style="red", soft_wrap=True)
    sys.exit(code)


def _warn(sentence: str) -> None:
    errors.print(f"tesseral: {sentence}", style="yellow", soft_wrap=True)
