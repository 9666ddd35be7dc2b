"""The metrics of a study: what is set, and that a node of a cluster gives it to Prometheus."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from urllib.request import urlopen

import pytest

from tesseral.cluster.execution import ray_metrics
from tesseral.cluster.execution.executor import Tally
from tesseral.study.configuration.trial import State


class Recorder:
    """Stands for Ray's metrics: keeps what they are set to."""

    def __init__(self) -> None:
        self.set: dict[tuple[str, ...], float] = {}
        self.observed: list[tuple[str, ...]] = []

    def metric(self, name: str, *_) -> "Recorder._Metric":
        return self._Metric(self, name)

    Gauge = Histogram = metric

    class _Metric:
        def __init__(self, recorder: "Recorder", name: str) -> None:
            self.recorder, self.name = recorder, name

        def set(self, value: float, tags: dict[str, str]) -> None:
            self.recorder.set[self.name, *tags.values()] = value

        def observe(self, value: float, tags: dict[str, str]) -> None:
            self.recorder.observed.append((self.name, *tags.values(), value))


def test_states_add_up_and_each_trial_is_observed_once(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(ray_metrics, "metrics", recorder)
    shown = ray_metrics.StudyMetrics(gpus=0.25)
    ended = Counter({State.COMPLETE: 5, State.FAILED: 1})
    shown.show(Tally("s", 20, ended, [("a", 2.0), ("b", 3.0)]), running=4)
    shown.show(Tally("s", 20, ended, [("a", 2.0), ("b", 3.0), ("a", 4.0)]), running=4)
    states = {key[2]: value for key, value in recorder.set.items() if key[0] == "tesseral_trials"}
    assert states == {"planned": 10, "running": 4, "complete": 5, "pruned": 0, "failed": 1}
    assert recorder.set["tesseral_gpus_reserved", "s"] == 1.0
    assert [item[1:] for item in recorder.observed] == [("s", "a", 2.0), ("s", "b", 3.0), ("s", "a", 4.0)]


def test_where_ray_is_local_nothing_is_set(monkeypatch):
    monkeypatch.setattr(ray_metrics, "LOCAL", True)
    monkeypatch.setattr(ray_metrics, "metrics", None)
    with ray_metrics.exported(None, 0.0, lambda: 0):
        pass


@pytest.fixture
def cluster(monkeypatch):
    """A head and a worker: its address, and the ports at which its nodes give their metrics."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "SLURM_"))}
    environment |= {"RAY_AUTH_TOKEN": "c" * 64, "RAY_metrics_report_interval_ms": "500", "SLURM_CPUS_ON_NODE": "2"}
    node = [sys.executable, "-m", "tesseral.cluster.nodes.ray_node"]
    with subprocess.Popen([*node, "head"], env=environment, stdout=subprocess.PIPE, text=True) as head:
        address = head.stdout.readline().strip()
        with subprocess.Popen([*node, "worker", "--address", address], env=environment) as worker:
            try:
                yield address, environment | {"RAY_ADDRESS": address, "RAY_AUTH_MODE": "token"}
            finally:
                for process in (head, worker):
                    process.send_signal(signal.SIGTERM)


@pytest.mark.cluster
@pytest.mark.timeout(1200)
def test_a_node_gives_them_to_prometheus(cluster, storage, study_file):
    address, environment = cluster
    study_file.write_text(study_file.read_text().replace("epochs = 6", "epochs = 60"))
    command = [sys.executable, "-c", "from tesseral.cluster.commands.cli import main; main()", "run"]
    quick = "from tesseral.cluster.execution import ray_metrics; ray_metrics.EVERY = 0.5; "
    command[2] = quick + command[2]
    found: dict[str, float] = {}
    with subprocess.Popen(
        [*command, str(study_file), "--storage", str(storage)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as driver:
        while driver.poll() is None and KINDS - kinds(found):
            for port in range(first := int(address.rpartition(":")[2]) - 1, first + 2 * 512, 512):
                with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    found |= values(answer.read().decode())
            time.sleep(0.3)
        driver.terminate()
        said = driver.communicate()[0]
    assert not KINDS - kinds(found), said
    assert all('study="small"' in name for name in found)
    states = {re.search(r'state="(\w+)"', name)[1] for name in found if name.startswith("ray_tesseral_trials{")}
    assert states == {state.value for state in State}


KINDS = {"ray_tesseral_trials", "ray_tesseral_trial_seconds_bucket", "ray_tesseral_gpus_reserved"}


def kinds(found: dict[str, float]) -> set[str]:
    """Names of metrics without their labels."""
    return {name.partition("{")[0] for name in found}


def values(text: str) -> dict[str, float]:
    """Metrics of the study in the text format of Prometheus."""
    lines = [line for line in text.splitlines() if line.startswith("ray_tesseral")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
