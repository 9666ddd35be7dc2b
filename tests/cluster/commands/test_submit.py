"""A real cluster: a study with a network of the user's own is submitted, found again, stopped and continued."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tesseral.cluster.submission.jobs import Request
from tesseral.cluster.submission.shipment import ship
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.store import Store
from tests.support.command_line import assert_refused, tesseral
from tests.support.job_client import ADDRESS, JobClient, join
from tests.support.ray_head import Head, clean, head
from tests.support.water_study import EXAMPLES, water_study

NETWORK = """
from e3nn import o3
from torch import nn

import my_scale


class Neighbours(nn.Module):
    def __init__(self, settings, *, elements, irreps_out, num_neighbors):
        super().__init__()
        scalars = o3.Irreps([(elements * settings.radial_functions, "0e")])
        harmonics = o3.Irreps.spherical_harmonics(settings.harmonics_lmax)
        self.product = o3.FullyConnectedTensorProduct(scalars, harmonics, irreps_out)
        self.scale = my_scale.scale(num_neighbors)

    def forward(self, graph):
        elements = graph.elements[graph.source]
        scalars = (elements[:, :, None] * graph.radial[:, None, :]).flatten(1)
        messages = self.product(scalars, graph.harmonics)
        outputs = messages.new_zeros(len(graph.species), messages.shape[1])
        return outputs.index_add(0, graph.destination, messages) * self.scale
"""


@pytest.fixture
def owned(tmp_path_factory) -> Path:
    """A study whose two trials take long enough to be stopped, with a network of the user's own."""
    folder = tmp_path_factory.mktemp("work")
    text = water_study(
        "owned", 'network.define = ["my_network:Neighbours"]', blocks=2, epochs=600, hidden="{ lmax = 1 }"
    )
    text = text.replace("_every = 0.0", "_every = 60.0")
    (folder / "owned.toml").write_text(text)
    (folder / "my_network.py").write_text(NETWORK)
    (folder / "my_scale.py").write_text("def scale(number):\n    return number**-0.5\n")
    return folder / "owned.toml"


@pytest.fixture
def laptop(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def cluster() -> Iterator[Head]:
    with head(RAY_JOB_STOP_WAIT_TIME_S="30") as started:  # a busy machine needs more than Ray's 3 s
        yield started


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--address", "http://127.0.0.1:1"), "--storage: expected a storage that all nodes share"),
        (("--address", "head:8265", "--storage", "/s"), "--address: expected the address of a Ray cluster's job"),
        (("--address", "http://u:secret@head:8265", "--storage", "/s"), "got 'head:8265'"),
    ],
)
def test_what_cannot_be_submitted_is_refused_before_anything_is_sent(owned, laptop, options, sentence):
    done = tesseral("submit", owned, *options)
    assert_refused(done, sentence)
    assert "secret" not in done.stderr


class Interrupting(JobClient):
    """A client whose user presses Ctrl-C while a log is followed."""

    async def tail_job_logs(self, job: str):
        yield "begun\n"
        raise KeyboardInterrupt


@pytest.mark.parametrize("text", [water_study("my.study"), (EXAMPLES / "water_tiny.toml").read_text()])
def test_the_hint_at_a_detached_job_stops_it(laptop, tmp_path, monkeypatch, text):
    client = Interrupting()
    join(monkeypatch, client)
    (tmp_path / "mine.toml").write_text(text)
    done = tesseral("submit", tmp_path / "mine.toml", "--address", ADDRESS, "--storage", "/studies")
    assert done.returncode == 130
    (job,) = client.jobs.values()
    (hint,) = re.findall(r"follows it again, and tesseral (stop .*) stops it\.", done.stdout)
    stopped = tesseral(*shlex.split(hint))
    assert stopped.returncode == 0, stopped.stderr
    assert job.status == "STOPPED"


def test_where_no_job_server_answers_it_is_said(owned, laptop):
    done = tesseral("submit", owned, "--address", "http://127.0.0.1:1", "--storage", "/s")
    assert done.returncode == 1
    assert done.stderr.startswith("tesseral: --address: no job server answers at http://127.0.0.1:1 (")


def until(condition, what: str) -> None:
    end = time.monotonic() + 1200
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.2)


@pytest.mark.cluster
@pytest.mark.timeout(2400)
def test_a_study_is_submitted_found_again_stopped_and_continued(owned, laptop, storage, cluster):
    options = ("--address", cluster.address, "--storage", storage)
    (owned.parent / "runs").mkdir()
    (owned.parent / "runs" / "record").write_text("never shipped")

    refused = cluster.tesseral("submit", owned, *options, RAY_AUTH_TOKEN="wrong")
    assert_refused(refused, f"--address: the cluster at {cluster.address} refuses this token; ")

    first = cluster.tesseral("submit", owned, *options, "--no-wait")
    assert first.returncode == 0, first.stderr
    (job,) = re.findall(r"^Submitted (tesseral-owned-[0-9a-f]{8}-1)\.", first.stdout)
    line = first.stdout.splitlines()[1]
    assert line.startswith(f"ray job submit --address {cluster.address} --submission-id {job} ")

    # a second one follows the first, and Ctrl-C leaves it running
    command = [sys.executable, "-m", "tesseral.cluster.commands.cli", "submit", str(owned), *map(str, options)]
    environment = clean() | cluster.environment
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # tests in the background may ignore it
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=heard) as second:
        attached = second.stdout.readline()
        assert re.fullmatch(rf"{job} is (pending|running): nothing is submitted\n", attached)
        until(lambda: list(storage.glob("owned/trials/*/attempts/1.json")), "no trial has begun")
        second.send_signal(signal.SIGINT)
        said = second.communicate(timeout=60)[0]
    assert second.returncode == 130
    assert said.endswith(
        f"Detached: {job} goes on; the same command follows it again, and "
        f"tesseral stop owned --address {cluster.address} stops it.\n"
    )
    status = cluster.tesseral("status", "owned", "--storage", storage, "--address", cluster.address)
    assert f"{job} is running.\nDriven by process " in status.stdout

    stopped = cluster.tesseral("stop", "owned", "--address", cluster.address)
    assert stopped.stdout == f"{job} has ended: stopped. tesseral submit continues it.\n"
    assert (storage / "owned" / "lease" / "1" / "left").exists()
    begun = [path.parents[1] for path in storage.glob("owned/trials/*/attempts/1.json")]
    assert any(list(trial.glob("checkpoint/1-*")) for trial in begun)
    (log,) = cluster.folder.glob(f"r/session_2*/logs/job-driver-{job}.log")
    told = log.read_text()
    assert told.endswith("tesseral: terminated; the same command continues from here\n")
    assert "***" not in told  # no stack of C++

    third = cluster.tesseral("submit", owned, *options)
    assert third.returncode == 0, third.stdout + third.stderr
    assert f"Submitted {job[:-1]}2." in third.stdout
    assert "owned: 2 of 2 trials complete\n" in third.stdout
    entries = Ledger(Store(storage / "owned")).entries()
    assert all(entry.outcome["attempts"] == len(entry.begins) <= 2 for entry in entries)
    assert any(entry.begins[-1]["start"] > 0 for entry in entries)
    assert {entry.begins[-1]["address"] for entry in entries} == {"127.0.0.1"}

    report = tesseral("report", "owned", "--storage", storage)
    assert report.returncode == 0, report.stderr

    packages = [*cluster.folder.glob("r/session_2*/runtime_resources/working_dir_files/*/*")]
    assert {path.name for path in packages if path.suffix != ".zip"} == {"owned.toml", "my_network.py", "my_scale.py"}
    assert holds_nowhere(cluster.token, [storage, *cluster.folder.glob("r/session_2*")])
    assert not any(cluster.token.encode() in words for words in command_lines())
    assert cluster.token not in "".join(done.stdout + done.stderr for done in (first, third, stopped, refused))


def holds_nowhere(secret: str, folders: list[Path]) -> bool:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return not [path for path in files if secret.encode() in path.read_bytes()]


def command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            yield (path / "cmdline").read_bytes()
        except OSError:
            continue


def test_the_plain_line_of_ray_holds_all_that_the_job_needs(owned, laptop):
    shipment = ship(owned)
    request = Request(shipment, ("run", shipment.file, "--storage", "/s"), "/s")
    words = shlex.split(request.line("http://head:8265", 3))
    options = dict(zip(words[3:11:2], words[4:12:2], strict=True))
    environment = json.loads(options["--runtime-env-json"])
    assert options["--submission-id"] == request.id(3)
    assert environment["working_dir"] == str(shipment.folder)
    assert [os.path.basename(path) for path in environment["py_modules"]] == ["tesseral"]
    assert json.loads(options["--metadata-json"])["tesseral.study"] == "owned"
    assert words[11:] == [
        "--",
        *shlex.split("exec python -m tesseral.cluster.commands.cli run owned.toml --storage /s"),
    ]
