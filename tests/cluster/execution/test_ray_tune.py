"""The Ray Tune executor, where it differs from the one in this process: what it is told, and how it stops."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.campaign.driver import run_study
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.execution.worker import Job, run_trial
from tesseral.cluster.nodes.needs import Needs
from tesseral.cluster.nodes.packing import Usage
from tesseral.cluster.nodes.ray_check import Checked
from tesseral.cluster.planning.plan import prepare
from tesseral.study.design.study_file import Resources
from tesseral.study.errors import RecordError
from tesseral.study.study import Study
from tests.support.processes import children


class Nothing(InlineExecutor):
    """An executor that keeps the jobs and runs none."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Job] = []

    def run(self, work) -> None:
        while (job := work.suggest()) is not None:
            self.jobs.append(job)
            work.lost(job.trial, "not run")


LOST = """
import sys
from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.campaign.driver import run
from tesseral.cluster.commands.exit_codes import explained
from tesseral.study.records.store import Store

class Usurper(Silent):
    def ended(self, trial, steps):
        Store(sys.argv[2]).child("small").create("lease/2/0", b"{}")

with explained():
    run(sys.argv[1], sys.argv[2], display=Usurper(), lease=0.6)
"""


def test_a_driver_that_loses_its_lease_stops_its_trials_and_exits_with_3(storage, study_file):
    study_file.write_text(study_file.read_text().replace("epochs = 6", "epochs = 300"))
    command = [sys.executable, "-c", LOST, str(study_file), str(storage)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, cwd=Path(__file__).parents[3]
    )
    assert done.returncode == 3, done.stderr
    assert done.stderr.splitlines()[-1] == "tesseral: another driver took the study over; this one stops"
    assert len(list(storage.glob("small/trials/*/outcome.json"))) < 6


SECRET = "an-unlikely-secret-of-s3"


@contextmanager
def driving(storage: Path, study_file: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A driver whose trials have begun, with a temporary folder of its own."""
    study_file.write_text(
        study_file.read_text().replace("epochs = 6", "epochs = 3000").replace("_every = 0.0", "_every = 600.0")
    )
    command = [sys.executable, "-m", "tesseral.cluster.commands.cli", "run", str(study_file), "--storage", str(storage)]
    environment = os.environ | {"TMPDIR": str(folder), "AWS_SECRET_ACCESS_KEY": SECRET}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as driver:
        try:
            end = time.monotonic() + 120
            while not list(storage.glob("small/trials/*/attempts/*")):
                assert time.monotonic() < end
                assert driver.poll() is None, driver.communicate()
                time.sleep(0.1)
            yield driver
        finally:
            driver.kill()


@pytest.fixture
def short() -> Iterator[Path]:
    """A temporary folder that is short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_to_the_group_keeps_the_trials_and_says_how_to_go_on(storage, study_file, short, number, code, word):
    with driving(storage, study_file, short) as driver:
        (folder,) = short.glob("tess-*")
        assert folder.stat().st_mode & 0o777 == 0o700
        logs = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        assert logs
        assert SECRET.encode() not in logs
        os.killpg(driver.pid, number)
        _, errors = driver.communicate(timeout=120)
    assert driver.returncode == code, errors
    assert errors == f"tesseral: {word}; the same command continues from here\n"
    assert (storage / "small" / "lease" / "1" / "left").exists()
    assert list(storage.glob("small/trials/*/checkpoint/1-*")), "a trial that has ended an epoch keeps a checkpoint"
    assert not list(short.glob("tess-*"))


@pytest.mark.long
@pytest.mark.parametrize(("server", "words"), [("raylet", "raylet"), ("gcs_server", "head (GCS)")])
def test_a_driver_whose_ray_is_lost_stops_and_says_so(storage, study_file, short, server, words):
    with driving(storage, study_file, short) as driver:
        (victim,) = children(driver.pid, server)
        os.kill(victim, signal.SIGKILL)
        output, errors = driver.communicate(timeout=45)  # Ray itself waits for 60 s, or without end
    assert driver.returncode == 1, errors
    assert errors == f"tesseral: Ray is lost: its {words} ended; the same command continues from here\n"
    assert "raylet)" not in output
    assert (storage / "small" / "lease" / "1" / "left").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what is asked for")
def test_what_a_machine_lacks_is_said_and_costs_no_trial(storage, study_file):
    study_file.write_text(study_file.read_text() + 'device = "cuda"\n')
    command = [sys.executable, "-m", "tesseral.cluster.commands.cli", "run", str(study_file), "--storage", str(storage)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert "6 left" in done.stdout
    assert "given up" in done.stderr
    assert "cuda" in done.stderr
    assert not list(storage.glob("small/trials/*/outcome.json"))


def test_what_a_worker_warns_of_is_said_by_its_driver(storage, study_file):
    jobs = Nothing()
    run_study(prepare(Study.load(study_file), str(storage)), jobs, Silent())
    job = replace(jobs.jobs[0], checkpoint_every=0.0)

    def kill(step: int, steps: int) -> None:
        if step > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(job, kill)
    *_, checkpoint = sorted(storage.glob(f"small/trials/{job.trial}/checkpoint/*"))
    checkpoint.write_bytes(b"torn")
    command = [sys.executable, "-m", "tesseral.cluster.commands.cli", "run", str(study_file), "--storage", str(storage)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"{checkpoint.name} is damaged: its hash does not match; an earlier one is used" in done.stderr


ROOMS = """
import json, os, sys
from pathlib import Path
from tesseral.cluster.nodes.packing import Usage
from tesseral.cluster.execution.probe import Sample
from tesseral.cluster.execution.ray_tune import RayExecutor
from tesseral.cluster.execution.worker import Job, NeedsRoomError
from tesseral.study.design.study_file import Resources
from tesseral.study.errors import DataError

FOLDER = Path(sys.argv[1])

class Work:
    resources = Resources(memory="auto", max_concurrent=2)
    sample = Sample("", "", ())

    def __init__(self):
        self.jobs = [Job("", "", name, 1, 1) for name in ("crowded", "lost", "unfit", "plain")]
        self.running, self.told = set(), {"ended": [], "lost": {}, "said": []}

    @property
    def done(self):
        return not self.jobs and not self.running

    def suggest(self, waiting=0):
        if not self.jobs:
            return None
        self.running.add(self.jobs[0].trial)
        return self.jobs.pop(0)

    def progress(self, trial, step):
        pass

    def read(self, trial):
        pass

    def ended(self, trial):
        self.running.discard(trial)
        self.told["ended"].append(trial)

    def lost(self, trial, reason):
        self.running.discard(trial)
        self.told["lost"][trial] = reason

    def kept(self, trial):
        return 40

    def say(self, sentence):
        self.told["said"].append(sentence)

def runner(job, progress, rung):
    with open(FOLDER / job.trial, "a") as log:
        print(job.shared, job.alone, file=log)
    if job.trial == "crowded" and job.shared:
        raise NeedsRoomError("a batch of 3 GB")
    if job.trial == "lost" and (FOLDER / job.trial).read_text().count("\\n") == 1:
        os._exit(1)
    if job.trial == "unfit":
        raise DataError("its data are not here")

import ray.tune.tune
ray.tune.tune.ExperimentAnalysis = None  # of all trials' files, which Tune would look for at the end

work = Work()
RayExecutor(runner, lambda sample, gpu: Usage(resident=10**8 if not gpu else 0)).run(work)
print(json.dumps(work.told))
"""


def test_what_needs_room_runs_again_alone_and_what_is_lost_runs_again(tmp_path):
    """Trials of a stand-in, packed by a probe that is made up: two at a time, of 0.2 GB each."""
    script = tmp_path / "rooms.py"
    script.write_text(ROOMS)
    folder = tmp_path / "logs"
    folder.mkdir()
    command = [sys.executable, str(script), str(folder)]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=root)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert sorted(told["ended"]) == ["crowded", "lost", "plain"]
    assert told["lost"] == {"unfit": "its data are not here"}
    logs = {path.name: path.read_text().splitlines() for path in folder.iterdir()}
    assert logs == {
        "crowded": ["True False", "False True"],
        "lost": ["True False", "True False"],
        "unfit": ["True False"],
        "plain": ["True False"],
    }
    assert sorted(told["said"]) == [
        "a few steps of the largest arm took 0.1 GB of memory: each trial reserves 1 CPU and 0.2 GB of memory",
        "a worker was lost; trial lost goes on from step 40",
        "trial crowded ran out of memory on a node's memory (a batch of 3 GB); it is tried again alone, once",
    ]
    assert done.stderr == ""


def test_memory_is_measured_on_a_node_that_lacks_nothing(monkeypatch):
    from tesseral.cluster.execution import ray_tune

    asked, said = [], []

    def probe(needs, measure, without):
        asked.append((needs, list(without)))
        return Usage(resident=10**9)

    lacking = Checked({"id": "it has no module 'mine'"}, {"id": "10.0.0.2"})
    monkeypatch.setattr(ray_tune, "check_room", lambda needs: None)
    monkeypatch.setattr(ray_tune, "_check", lambda work, needs: lacking)
    monkeypatch.setattr(ray_tune, "probe", probe)
    work = SimpleNamespace(resources=Resources(cpus=2, memory="auto"), sample=None, say=said.append)
    assert ray_tune.RayExecutor()._needs(work) == (Needs(2, memory=1_300_000_000), lacking)
    assert asked == [(Needs(2), ["id"])]
    assert len(said) == 1


def test_jobs_are_handed_out_while_the_records_of_ended_trials_are_read():
    """The records of two trials are read at the same time. One is damaged, which is raised when its end is taken."""
    from tesseral.cluster.execution.tune_calls import Calls
    from tesseral.cluster.nodes.needs import Needs

    both, told = threading.Barrier(3), []

    def read(trial):
        both.wait(30)

    def ended(trial):
        if trial == "torn":
            raise RecordError("a record is damaged")
        told.append(trial)

    work = SimpleNamespace(read=read, ended=ended, suggest=lambda waiting: None, say=print, kept=None)
    calls = Calls(work, Needs(1), shared=False)
    calls.running |= {"whole", "torn", "other"}
    for trial in ("whole", "torn"):
        calls.read(trial)
    calls.take_ends()
    assert calls.next() is None
    assert (told, calls.running) == ([], {"whole", "torn", "other"})
    calls.running.remove("other")
    both.wait(30)
    wait(calls._reading.values(), 30)
    calls.take_ends()
    assert (told, calls.running) == (["whole"], set())
    assert [str(fault) for fault in calls.faults] == ["a record is damaged"]
    calls.threads.shutdown()


def test_ends_are_taken_while_tune_waits_for_the_next_trial():
    """Where no trial runs, Tune asks the searcher alone, for ten minutes, and calls nothing else meanwhile."""
    from tesseral.cluster.execution.ray_tune import _JobSearcher
    from tesseral.cluster.execution.tune_calls import Calls
    from tesseral.cluster.nodes.needs import Needs

    go_on, left = threading.Event(), {"first", "last"}

    def read(trial):
        if trial == "last":
            go_on.wait(30)

    work = SimpleNamespace(read=read, ended=left.discard, suggest=lambda waiting: None, say=print, kept=None)
    calls = Calls(SimpleNamespace(**vars(work)), Needs(1), shared=False)
    calls.work.done = False
    calls.running |= left
    for trial in ("first", "last"):
        calls.read(trial)
    searcher = _JobSearcher(calls)
    assert searcher.suggest("a") is None, "the records of the last trial are being read"
    go_on.set()
    wait(calls._reading.values(), 30)
    calls.work.done = True
    assert searcher.suggest("b") == searcher.FINISHED
    assert (left, calls.running) == (set(), set())
    calls.threads.shutdown()


def test_a_working_folder_that_has_gone_matters_only_while_work_is_left():
    from tesseral.cluster.execution import ray_tune

    def fit() -> None:
        raise FileNotFoundError(2, "No such file or directory")

    ray_tune._to_the_end(fit, SimpleNamespace(done=True))
    with pytest.raises(FileNotFoundError):
        ray_tune._to_the_end(fit, SimpleNamespace(done=False))
