"""Several nodes with addresses of their own: nodes die, join late, are cut off and slowed down, and the head restarts.

    python -m tests.system.cluster --figures build/cluster.json

Ray nodes run in network namespaces (`tests.support.network`), each with a temporary folder of its own: a head without
CPUs, beside which the driver runs, and two workers. The records lie in a folder that all share, then on an S3 server at
the head's address. Afterwards no trial may be lost, no row may count twice, and every row must equal that of an
undisturbed run in one process. Needs root and /dev/net/tun.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

import boto3
import polars as pl

from tesseral.analysis.tables.open import open_study
from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.campaign.driver import run_study
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.planning.plan import prepare
from tesseral.study.study import Study
from tests.benchmarks.figures import Figure, report
from tests.support.network import possible
from tests.support.ray_head import head
from tests.support.ray_hosts import RAY, ROOT, Hosts, ray_hosts
from tests.support.water_study import make_water, water_study

NAME = "cluster"
PARTITION = 45.0
"""Seconds: longer than Ray waits for a node."""
DELAY, LOSS = 0.1, 0.02
"""Seconds of each way, so 200 ms there and back; share of the frames that are lost."""
LEASE = 10.0
WAIT = 1200.0
"""Seconds after which an event has failed to come: far more than it takes on a machine that is busy with other work."""
S3_PORT = 5000
BUCKET = "studies"
KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}
CURVES = ["trial", "step", "split", "metric", "l"]
TRACES = ["trial", "step", "layer", "path", "l", "p", "statistic"]


class Records:
    """The records of the study as they lie in a folder or on S3: every small file, by path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, end: str) -> dict[str, bytes]:
        """Path within the study → content of every file that ends so."""
        root = self.folder / NAME
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob(f"*{end}") if path.is_file()}


class S3Records(Records):
    """The same of a bucket that is reached from the head's host alone."""

    def __init__(self, hosts: Hosts, endpoint: str) -> None:
        self._call, self._endpoint = hosts.head_host.call, endpoint

    def read(self, end: str) -> dict[str, bytes]:
        return self._call(lambda: self._read(end))

    def _read(self, end: str) -> dict[str, bytes]:
        client = boto3.client("s3", endpoint_url=self._endpoint, **_credentials())
        found = {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{NAME}/"):
            for item in page.get("Contents", ()):
                if item["Key"].endswith(end):
                    body = client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
                    found[item["Key"].removeprefix(f"{NAME}/")] = body
        return found


def _credentials() -> dict[str, str]:
    return {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


class Run:
    """A study on a cluster that is disturbed.

    :param storage: folder or URL, as every node sees it.
    """

    def __init__(self, hosts: Hosts, study: Path, storage: str, records: Records, log: Path, seed: int = 0) -> None:
        self.hosts, self.records, self.log = hosts, records, log
        self._command = ["run", str(study), "--storage", storage, "--lease", str(LEASE)]
        self._random = random.Random(seed)
        self._finished: dict[str, bytes] = {}
        self.changed = self.disturbed = 0
        self.driver = hosts.drive(*self._command, log=log)

    def running(self, host: str) -> list[str]:
        """Trials that have begun on a host and have no outcome."""
        here = set(self.hosts.net.hosts[host].processes())
        ended = {path.split("/")[1] for path in self.records.read("/outcome.json")}
        begins = {
            path.split("/")[1]: json.loads(content)
            for path, content in self.records.read(".json").items()
            if "/attempts/" in path and path.split("/")[-1].removesuffix(".json").isdecimal()
        }
        return [trial for trial, begin in begins.items() if trial not in ended and begin.get("pid") in here]

    def wait_for_work(self, host: str) -> bool:
        """Until a trial runs on a host, and a moment more.

        :returns: False if the study ended before.
        """
        self.wait(lambda: bool(self.running(host)))
        time.sleep(self._random.uniform(0.0, 1.5))
        return self.driver.poll() is None

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until a condition holds, or the driver ends."""
        end = time.monotonic() + WAIT
        while not condition() and self.driver.poll() is None:
            assert time.monotonic() < end, f"waited in vain; {self.text()[-3000:]}"
            time.sleep(0.5)
            self.look()

    def look(self) -> None:
        """Count the finished trials whose outcome has changed."""
        for path, content in self.records.read("/outcome.json").items():
            self.changed += self._finished.setdefault(path, content) != content

    def restart_head(self) -> None:
        """Kill the head, which comes back; the driver must end by itself, and the same command goes on."""
        head = self.hosts.nodes["head"]
        head.held = True  # Ray aborts a driver that is slow to end where another head answers by then
        head.kill()
        code = self.driver.wait(WAIT)
        assert code == 1, f"expected the driver to end with 1 once its head was gone, got {code}: {self.text()[-3000:]}"
        head.held = False
        self.hosts.wait_for_head()
        self.driver = self.hosts.drive(*self._command, log=self.log)
        self.disturbed += 1

    def end(self) -> None:
        """Let it end."""
        code = self.driver.wait(2 * WAIT)
        self.look()
        assert code == 0, self.text()[-4000:]

    def text(self) -> str:
        """What the drivers have printed."""
        return self.log.read_text()


def write_study(folder: Path, blocks: int, epochs: int) -> Path:
    """The study: two arms, of seconds a trial."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{NAME}.toml"
    text = water_study(
        NAME, "network.hidden.lmax = [1, 2]", blocks=blocks, hidden="{ mul = [16, 8, 4] }", epochs=epochs
    )
    path.write_text(text)
    return path


def tables(storage: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Trials, curves and traces that count."""
    opened = open_study(storage, NAME)
    return opened.trials, opened.curves.collect(), opened.traces.collect()


def undisturbed(study: Path, reference: Path, folder: Path) -> Path:
    """The same study in this process: the storage of its records."""
    (folder / "reference").mkdir(parents=True)
    shutil.copy(reference, folder / "reference" / reference.name)
    run_study(prepare(Study.load(study), str(folder)), InlineExecutor(), Silent())
    return folder


def compare(storage: Path, quiet: Path, changed: int) -> dict[str, int]:
    """What must be zero."""
    trials, *disturbed = tables(storage)
    expected, *rows = tables(quiet)
    complete = trials.filter(pl.col("state") == "complete")
    return {
        "trials lost": expected.height - complete.height,
        "rows that count twice": sum(
            int(frame.select(keys).is_duplicated().sum())
            for frame, keys in zip(disturbed, (CURVES, TRACES), strict=True)
        ),
        "finished trials that changed": changed,
        "tables that differ from an undisturbed run": sum(
            not ours.sort(ours.columns).equals(theirs.sort(theirs.columns).select(ours.columns))
            for ours, theirs in zip(disturbed, rows, strict=True)
        ),
    }


@contextmanager
def s3_on(hosts: Hosts) -> Iterator[str]:
    """An S3 server at the head's address. It is no part of Ray's head, and outlives it.

    :returns: its URL.
    """
    address = hosts.head_host.address
    endpoint = f"http://{address}:{S3_PORT}"
    code = f"from moto.server import main; main(['-H', '{address}', '-p', '{S3_PORT}'])"
    server = subprocess.Popen(
        hosts.head_host.command(sys.executable, "-c", code), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + WAIT
        while True:
            try:
                hosts.head_host.call(lambda: _make_bucket(endpoint))
                break
            except Exception:  # noqa: BLE001 - whatever a server says that is about to start
                assert time.monotonic() < end, "the S3 server does not start"
                time.sleep(0.5)
        yield endpoint
    finally:
        server.kill()
        server.wait()


def _make_bucket(endpoint: str) -> None:
    boto3.client("s3", endpoint_url=endpoint, **_credentials()).create_bucket(Bucket=BUCKET)


def on_a_folder(base: Path, study: Path, reference: Path) -> tuple[Path, Run]:
    """A node joins late, is killed, is cut off and comes back; then the head restarts."""
    storage = base / "shared"
    (storage / "reference").mkdir(parents=True)
    shutil.copy(reference, storage / "reference" / reference.name)
    with ray_hosts("a", "b") as hosts:
        hosts.start("a")
        run = Run(hosts, study, str(storage), Records(storage), base / "folder.log")
        run.wait_for_work("a")
        hosts.start("b")
        if run.wait_for_work("b"):
            hosts.nodes["b"].kill()
            run.disturbed += 2
        if run.wait_for_work("b"):
            hosts.net.hosts["b"].cut = True
            time.sleep(PARTITION)
            hosts.net.hosts["b"].cut = False
            run.disturbed += 1
        if run.wait_for_work("a"):
            run.restart_head()
        run.end()
    return storage, run


def on_s3(base: Path, study: Path, reference: Path) -> tuple[Path, Run]:
    """One node is slow and loses frames all the time; the head restarts, and the other node is killed."""
    with ray_hosts("a", "b", environment=KEYS) as hosts, s3_on(hosts) as endpoint:
        hosts.environment["AWS_ENDPOINT_URL"] = endpoint
        url = f"s3://{BUCKET}"

        def upload() -> None:
            client = boto3.client("s3", endpoint_url=endpoint, **_credentials())
            client.put_object(Bucket=BUCKET, Key=f"reference/{reference.name}", Body=reference.read_bytes())

        hosts.head_host.call(upload)
        slow = hosts.net.hosts["b"]
        slow.delay, slow.loss = DELAY, LOSS
        hosts.start("a")
        hosts.start("b")
        records = S3Records(hosts, endpoint)
        run = Run(hosts, study, url, records, base / "s3.log")
        if run.wait_for_work("a"):
            run.restart_head()
        if run.wait_for_work("a"):
            hosts.nodes["a"].kill()
            run.disturbed += 1
        run.end()
        begins = [json.loads(content) for path, content in records.read(".json").items() if "/attempts/" in path]
        run.disturbed += any(begin.get("address") == slow.address for begin in begins)
        copied = base / "copied"
        for path, content in records.read("").items():
            target = copied / NAME / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        assert hosts.net.lost > 0, "no frame was lost"
    return copied, run


def of_unequal_nodes(base: Path, reference: Path) -> list[Figure]:
    """Nodes that lack something, each another thing, one that is too small, and one that has room for two trials.

    Whether each is told in a sentence, and how many trials the last one ran at the same time.
    """
    shared, mine, home = [str(ROOT / "infra" / "namespace"), str(ROOT)], base / "mine", base / "home"
    old, without, other = base / "old", base / "without", base / "other"
    shutil.copytree(ROOT / "infra" / "namespace", old)
    with (old / "tesseral" / "cluster" / "__init__.py").open("a") as file:
        file.write("# older\n")
    _write(without / "sitecustomize.py", WITHOUT_PYSCF)
    _write(other / "torch-0.1.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 0.1\n")
    _write(mine / "my_points.py", (ROOT / "study" / "examples" / "gate_points.py").read_text())
    storage = base / "unequal"
    (storage / "reference").mkdir(parents=True)
    shutil.copy(reference, storage / "reference" / reference.name)
    with ray_hosts("a", "b", "c", "d", "e") as hosts:
        text = write_study(home, blocks=4, epochs=6).read_text()
        text = text.replace("[network]", '[network]\ndefine = "my_points:GatePoints"')
        own = hosts.nodes["head"].temporary / "mine"  # no other node has it
        _write(own / f"{NAME}.toml", text.replace("[resources]", "[resources]\nmemory = 0.5"))
        shutil.copy(mine / "my_points.py", own)
        hosts.start("a", PYTHONPATH=os.pathsep.join([str(old), str(mine), *shared]))
        hosts.start("b", PYTHONPATH=os.pathsep.join([str(without), *shared]))
        hosts.start("c", PYTHONPATH=os.pathsep.join([str(other), str(mine), *shared]))
        hosts.start("d", f"--memory={300 * 10**6}")
        hosts.start("e", f"--memory={1200 * 10**6}", cpus=3, PYTHONPATH=os.pathsep.join([str(mine), *shared]))
        hosts.wait_for_nodes()
        run = Run(hosts, RAY / "mine" / f"{NAME}.toml", str(storage), Records(storage), base / "unequal.log")
        run.end()
        log = base / "made.log"
        recipe = ROOT / "study" / "examples" / "water_tiny.toml"
        made = hosts.drive("reference", "make", str(recipe), "--storage", str(base / "new"), log=log).wait(WAIT)
        a, b, c, d, e = (hosts.net.hosts[name].address for name in "abcde")
    print(run.text(), log.read_text(), sep="\n", flush=True)
    said = {
        "other code": f"node {a} is left out: its code of tesseral (" in run.text(),
        "no module of the user's": f"node {b} is left out: it has no module 'my_points'" in run.text(),
        "another version of torch": f"node {c} is left out: it has torch 0.1, the driver torch " in run.text(),
        "less memory than a trial needs": f"no trial runs on node {d}, which has less than one needs" in run.text(),
        "no PySCF": made == 0 and f"node {b} is left out: it has no module 'pyscf'" in log.read_text(),
    }
    begins = [json.loads(path.read_text()) for path in storage.glob(f"{NAME}/trials/*/attempts/1.json")]
    figures = [Figure(f"said of a worker with {what}", good, "", least=1) for what, good in said.items()]
    figures.append(Figure("trials on other nodes", sum(begin["address"] != e for begin in begins), "", 0))
    return [*figures, Figure("trials at once on 3 CPUs with memory for 2", at_once(storage), "", 2, least=2)]


WITHOUT_PYSCF = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name == "pyscf":
            raise ModuleNotFoundError("No module named 'pyscf'", name="pyscf")

sys.meta_path.insert(0, Without())
"""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def at_once(storage: Path) -> int:
    """The most trials that ran at the same time: from the begin of the first attempt to the outcome."""
    trials = [path.parent for path in storage.glob(f"{NAME}/trials/*/outcome.json")]
    times = [(trial / "attempts" / "1.json", trial / "outcome.json") for trial in trials]
    spans = [tuple(path.stat().st_mtime for path in each) for each in times]
    return max((sum(begin <= moment < end for begin, end in spans) for moment, _ in spans), default=0)


def of_a_stop(base: Path, reference: Path) -> list[Figure]:
    """`ray job stop`, 3 s after which Ray kills the driver: the release, what trials kept, and the next start."""
    storage = base / "stopped"
    (storage / "reference").mkdir(parents=True)
    shutil.copy(reference, storage / "reference" / reference.name)
    study = write_study(base / "stopping", blocks=1, epochs=200)
    study.write_text(study.read_text().replace("checkpoint_every = 0.0", "checkpoint_every = 600.0"))
    with head() as cluster:
        words = ("submit", str(study), "--address", cluster.address, "--storage", str(storage))
        cache = {"XDG_CACHE_HOME": str(base / "cache")}
        submitted = cluster.tesseral(*words, "--no-wait", **cache)
        assert submitted.returncode == 0, submitted.stderr
        job = submitted.stdout.split()[1].rstrip(".")
        end = time.monotonic() + WAIT
        while len({path.parent for path in storage.glob(f"{NAME}/curves/*/1-*.parquet")}) < 2:
            assert time.monotonic() < end, "no trial has ended an epoch"
            time.sleep(0.2)
        asked = time.time()
        stop = Request(f"{cluster.address}/api/jobs/{job}/stop", b"", {"Authorization": f"Bearer {cluster.token}"})
        urlopen(stop, timeout=30).close()
        left, released = storage / NAME / "lease" / "1" / "left", 30.0
        while time.time() < asked + 30.0 and not left.exists():
            time.sleep(0.1)
        if left.exists():
            released = left.stat().st_mtime - asked
        kept = len({path.parent for path in storage.glob(f"{NAME}/trials/*/checkpoint/1-*")})
        again = cluster.tesseral(*words, **cache)
        print(again.stdout, again.stderr, flush=True)
    return [
        Figure("time from `ray job stop` to the release of the study", released, "s", 3.0),
        Figure("trials that kept a checkpoint at `ray job stop`", kept, "", least=1),
        Figure("trials complete after the next start", int("2 of 2 trials complete" in again.stdout) * 2, "", least=2),
    ]


SCENES: Mapping[str, Callable[[Path, Path, Path], tuple[Path, Run]]] = {"a shared folder": on_a_folder, "S3": on_s3}
OTHERS: Mapping[str, Callable[[Path, Path], list[Figure]]] = {"unequal nodes": of_unequal_nodes, "stop": of_a_stop}
AT_ONCE = 3
"""Scenes that are played at the same time: most of a scene is waiting."""


class Ended(NamedTuple):
    """What a disturbed study left."""

    storage: Path
    changed: int
    """Finished trials that changed."""
    disturbances: int
    said: str
    seconds: float


def disturb(where: str, base: Path, study: Path, reference: Path) -> Ended:
    """Play a scene to its end."""
    start = time.monotonic()
    storage, run = SCENES[where](base, study, reference)
    return Ended(storage, run.changed, run.disturbed, run.text(), time.monotonic() - start)


def play(names: Collection[str], base: Path, blocks: int, epochs: int) -> Iterator[Figure]:
    """Play scenes, each in a process of its own, and yield their figures."""
    reference = make_water(base / "made")
    study, quiet = write_study(base, blocks, epochs), base / "quiet"
    with ProcessPoolExecutor(AT_ONCE, get_context("spawn"), end_cleanly, max_tasks_per_child=1) as pool:
        alone = pool.submit(undisturbed, study, reference, quiet) if SCENES.keys() & set(names) else None
        scenes = {where: pool.submit(disturb, where, base, study, reference) for where in SCENES if where in names}
        others = [pool.submit(scene, base, reference) for name, scene in OTHERS.items() if name in names]
        for where, scene in scenes.items():
            ended = scene.result()
            print(f"{where}: {ended.disturbances} disturbances", ended.said, sep="\n", flush=True)
            if alone is not None:
                alone.result()
            for what, value in compare(ended.storage, quiet, ended.changed).items():
                yield Figure(f"{what}, on {where}", value, "", 0)
            yield Figure(f"disturbances, on {where}", ended.disturbances, "", least=3)
            yield Figure(f"time, on {where}", ended.seconds, "s")
        for other in others:
            yield from other.result()


def end_cleanly() -> None:
    """End at SIGTERM with all that was started: nodes, servers, namespaces, and the processes of scenes."""

    def end(*_: object) -> None:
        for child in active_children():
            child.terminate()
        sys.exit(143)

    signal.signal(signal.SIGTERM, end)


def main() -> None:
    """All scenes; the figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=45)
    parser.add_argument("--only", choices=[*SCENES, *OTHERS])
    parser.add_argument("--figures", type=Path, default=Path("build/cluster.json"))
    options = parser.parse_args()
    if not possible():
        sys.exit("tests.system.cluster needs root and /dev/net/tun")
    end_cleanly()
    base = Path(tempfile.mkdtemp(prefix="tess-cluster-", dir="/var/tmp"))
    began = time.monotonic()
    try:
        names = [options.only] if options.only else [*SCENES, *OTHERS]
        figures = list(play(names, base, options.blocks, options.epochs))
        figures.append(Figure("time of the cluster test", time.monotonic() - began, "s", 900))
        sys.exit(not report(figures, options.figures))
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
