"""An S3 server behind a proxy that misbehaves, at each kind of record and at random."""

import random
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import boto3

from tests.support.disturbed import Found, Numbers, Studies, difference, each, numbers
from tests.support.faulty_proxy import FAULTS, Fault, Proxy, first, proxy_of
from tests.support.forked_commands import Commands, Ended, forked
from tests.support.s3_server import s3

PLACES = {
    "trial": "/trial.json",
    "attempts": "/attempts",
    "checkpoints": "/checkpoint",
    "outcome": "/outcome.json",
    "lease": "/lease",
    "rungs": "/rungs",
    "decisions": "/decisions",
    "proposals": "/search",
    "study": "/study.toml",
    "segments": "/curves",
    "compacted": "-all-",
    "reference": "/reference",
}
"""Kind of record → what the path of its requests holds."""
AWAY = 20.0
"""Seconds without any answer."""


def put(folder: Path, url: str, environment: dict[str, str]) -> None:
    """Copy the files of a folder to the URL in a new bucket."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"])
    client.create_bucket(Bucket=bucket)
    for path in folder.rglob("*"):
        if path.is_file():
            client.put_object(Bucket=bucket, Key=f"{prefix}/{path.relative_to(folder)}", Body=path.read_bytes())


def at_random(seed: int, share: float = 0.1) -> Fault:
    """A fault of each request with a probability, any but the slow ones."""
    chosen = random.Random(seed)
    quick = [fault for fault in FAULTS if fault != "hang"]
    return lambda method, path: chosen.choice(quick) if chosen.random() < share else None


def try_storage(found: Found, share: float = 1.0, seed: int = 0) -> None:
    """Run a searching study whose requests meet each fault at each kind of record, then at random."""
    chosen = random.Random(seed)
    with s3() as environment:
        with forked() as commands:
            studies = Studies(commands)
            with studies.copy() as folder:
                assert studies.run(commands, folder, "searching").code == 0
                undisturbed = numbers(folder / "runs", "searching")
        cases: list[tuple[str, Callable[[Proxy], None]]] = []
        for kind, part in PLACES.items():
            for fault in FAULTS:
                count = 1 if fault == "hang" else 3
                cases.append((f"{fault} at {kind}", _meeting(lambda f=fault, c=count, p=part: first(c, f, "", p))))
            cases.append((f"away at {kind}", _going_away(part)))
        cases += [(f"random {n}", _meeting(lambda n=n: at_random(seed + n))) for n in range(round(20 * share) or 1)]
        cases = [case for case in cases if case[0].startswith("random") or chosen.random() < share]
        each(cases, lambda commands, case: _try(found, studies, environment, undisturbed, commands, *case), threads=6)


def _meeting(fault: Callable[[], Fault]) -> Callable[[Proxy], None]:
    def prepare(proxy: Proxy) -> None:
        proxy.fault = fault()

    return prepare


def _going_away(part: str) -> Callable[[Proxy], None]:
    """From the first request for such a record on, nothing answers for a while."""

    def prepare(proxy: Proxy) -> None:
        def fault(method: str, path: str) -> str | None:
            if part not in path or gone.is_set():
                return None
            gone.set()
            proxy.down.set()
            threading.Timer(AWAY, proxy.down.clear).start()
            return "reset"

        gone = threading.Event()
        proxy.fault = fault

    return prepare


def _try(
    found: Found,
    studies: Studies,
    environment: dict[str, str],
    undisturbed: Numbers,
    commands: Commands,
    where: str,
    prepare: Callable[[Proxy], None],
) -> None:
    url = f"s3://{uuid.uuid4().hex}/runs"  # a bucket each: moto's listing fails where another thread deletes
    put(studies.runs, url, environment)
    with proxy_of(environment["AWS_ENDPOINT_URL"]) as (address, proxy):

        def run() -> Ended:
            words = ["run", studies.folder / "searching.toml", *studies.at(url), "--lease", "4"]
            return commands.run(*words, environment=environment | {"AWS_ENDPOINT_URL": address}, seconds=180)

        prepare(proxy)
        ended = run()
        if not proxy.met and not where.startswith("random"):
            return
        found.count("faults of an S3 server")
        found.judge(where, ended)
        if ended.code:
            found.failed("not whole after the same command again", f"{where}: it ended", ended)
            ended = run()
        why = difference(url, "searching", undisturbed)
        if ended.code == 0 and why:
            found.failed("exit 0 with a wrong number", where, ended, why)
        elif ended.code:
            found.failed("not whole after the same command again", where, ended, why)
