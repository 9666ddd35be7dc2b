"""Chaos: a study with search and confirm under a seeded monkey that kills and pauses whatever runs it.

    python -m tests.system.chaos --seeds 5 --kills 6 --figures build/chaos.json

A two-node Ray cluster runs the trials. At random moments the monkey kills, by SIGKILL, a worker, the driver or a
node; once it also pauses a driver past its lease while another takes over. Every other seed keeps a checkpoint every
second alone, so that rows sealed beyond it are written again. Afterwards every record is checked, and every trial is
trained again, alone, from its trial.json.
"""

import argparse
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path

import polars as pl

from tesseral.analysis.tables.open import open_study, read_study
from tesseral.cluster.execution.executor import threads
from tesseral.cluster.execution.worker import Job, run_trial
from tesseral.study.records.lease import newest
from tesseral.study.records.store import Store
from tests.support.processes import training
from tests.support.water_study import make_water, water_study

SEARCH = """
[search]
trials = 14

[search.space]
training.learning_rate = { low = 1e-3, high = 1e-1, log = true }

[search.asha]
min_epochs = 4
reduction = 2
"""
TRIALS = 2 * (14 + 6)
LEASE = 4.0
"""Seconds: short, so that a paused driver is soon superseded."""

CLUSTER = """
import sys
from ray.cluster_utils import Cluster

def add():
    for _ in range(3):  # Ray gives a node 30 s to start, which on a busy machine may be too few
        try:
            return cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        except Exception as late:
            if "timed out during startup" not in str(late):
                raise
    raise TimeoutError("a node of Ray did not start in three tries")

if __name__ == "__main__":
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False,
                                                            "object_store_memory": 100 * 2**20})
    node = add()
    print(cluster.address, flush=True)
    for line in sys.stdin:
        cluster.remove_node(node, allow_graceful=False)
        node = add()
        print("replaced", flush=True)
    cluster.shutdown()
"""


class Reader(threading.Thread):
    """Scans the tables over and over, as an analysis would: it must never see a torn state."""

    def __init__(self, storage: Path) -> None:
        super().__init__(daemon=True)
        self.storage, self.stop = storage, threading.Event()
        self.scans, self.torn = 0, []

    def run(self) -> None:
        while not self.stop.wait(0.3):
            if not (self.storage / "chaos" / "study.toml").exists():
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", UserWarning)
                    read_study(self.storage, "chaos", self._scan)
                self.scans += 1
            except Exception as error:  # noqa: BLE001 - whatever a reader may meet is what is looked for
                self.torn.append(repr(error))

    @staticmethod
    def _scan(tables) -> None:
        curves = tables.curves.collect()
        assert not curves.select("trial", "step", "split", "metric", "l").is_duplicated().any()
        assert tables.trials["trial"].is_unique().all()


class Chaos:
    """One study of 40 trials: `kills` kills, and a pause of its driver."""

    def __init__(self, storage: Path, seed: int, kills: int) -> None:
        self.storage, self.kills = storage, kills
        self.records = storage / "chaos"
        self.random = random.Random(seed)
        self.study_file = storage / "chaos.toml"
        text = water_study(
            "chaos", seed=seed, blocks=6, hidden="{ mul = [8, 4] }", epochs=24, checkpoint_every=float(seed % 2)
        )
        self.study_file.write_text(text + SEARCH)
        self.done: Counter[str] = Counter()
        self.finished: dict[str, tuple[bytes, list[str]]] = {}
        self.again = 0

    def run(self) -> None:
        """Start the study, disturb it, and let it end."""
        self.environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # nothing listens beyond loopback
        }
        reader = Reader(self.storage)
        command = [sys.executable, "-c", CLUSTER]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": self.environment}
        with subprocess.Popen(command, **pipes) as self.cluster:
            self.address = self._line()
            reader.start()
            plan = [("worker", "driver", "node")[i % 3] for i in range(self.kills)] + ["pause"]
            self.random.shuffle(plan)
            driver = self._start()
            for victim in plan:
                before = self.done.copy()
                while self.done == before and not self._ended():
                    self._wait_for_work(driver)
                    time.sleep(self.random.uniform(0.0, 2.0))
                    driver = self._disturb(victim, driver)
                    self._look()
            output, _ = driver.communicate(timeout=600)
            assert driver.returncode in (0, 1), output
            self.output = output
            self.cluster.stdin.close()
            self.cluster.wait(60)
        reader.stop.set()
        reader.join()
        self.scans, self.torn = reader.scans, reader.torn
        self._look()

    @property
    def killed(self) -> int:
        """Kills that hit something."""
        return self.done.total() - self.done["pause"]

    def _ended(self) -> bool:
        return len(list(self.records.glob("trials/*/outcome.json"))) == TRIALS

    def _line(self) -> str:
        while "Ray" in (line := self.cluster.stdout.readline()) or not line.strip():
            assert self.cluster.poll() is None, "the cluster has ended"
        return line.strip()

    def _start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "tesseral.cluster.commands.cli", "run", str(self.study_file)]
        command += ["--storage", str(self.storage), "--lease", str(LEASE)]
        environment = self.environment | {"RAY_ADDRESS": self.address}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)

    def _wait_for_work(self, driver: subprocess.Popen) -> None:
        """Until a trial has begun that had not when the driver started, or the study ends."""
        known = len(list(self.records.glob("trials/*/attempts/*.json")))
        end = time.monotonic() + 180
        while driver.poll() is None and len(list(self.records.glob("trials/*/attempts/*.json"))) <= known:
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)

    def _disturb(self, victim: str, driver: subprocess.Popen) -> subprocess.Popen:
        if driver.poll() is not None:
            return self._start()
        if victim == "worker":
            for pid in self.random.sample(running := training(self.records), min(1, len(running))):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.done["worker"] += 1
        elif victim == "node":
            self.cluster.stdin.write("node\n")
            self.cluster.stdin.flush()
            self._line()
            self.done["node"] += 1
        elif victim == "driver":
            driver.kill()
            driver.wait()
            self.done["driver"] += 1
            driver = self._start()
        else:
            driver.send_signal(signal.SIGSTOP)
            held = newest(Store(self.records))
            successor = self._start()
            end = time.monotonic() + 60
            while newest(Store(self.records)) == held and successor.poll() is None:
                assert time.monotonic() < end, "nobody took over"
                time.sleep(0.1)
            driver.send_signal(signal.SIGCONT)
            output, _ = driver.communicate(timeout=120)
            assert driver.returncode in (0, 1, 3), output
            self.done["pause"] += 1
            driver = successor
        return driver

    def _look(self) -> None:
        """Remember what is finished; count what was finished and changed or ran again."""
        for path in self.records.glob("trials/*/outcome.json"):
            folder = path.parent / "attempts"
            now = path.read_bytes(), sorted(os.listdir(folder)) if folder.exists() else []
            if self.finished.setdefault(path.parent.name, now) != now:
                self.again += 1

    def figures(self) -> dict[str, int]:
        """What must be zero, counted over all records."""
        tables = open_study(self.storage, "chaos")
        trials = tables.trials
        curves, traces = tables.curves.collect(), tables.traces.collect()
        twice = sum(
            int(frame.select(keys).is_duplicated().sum())
            for frame, keys in (
                (curves, ["trial", "step", "split", "metric", "l"]),
                (traces, ["trial", "step", "layer", "path", "l", "p", "statistic"]),
            )
        )
        steps = dict(zip(trials["trial"], trials["steps"].fill_null(0), strict=True))
        train = curves.filter(pl.col("split") == "train", pl.col("metric") == "loss")
        seen = {name: rows["epoch"].to_list() for (name,), rows in train.group_by("trial")}
        missing = sum(sorted(seen.get(name, [])) != list(range(1, last // 2 + 1)) for name, last in steps.items())
        unjudged = 0
        for path in self.records.glob("trials/*/trial.json"):
            due = [
                rung for rung in json.loads(path.read_text()).get("rungs", []) if 2 * rung <= steps[path.parent.name]
            ]
            unjudged += sorted(int(rung.stem) for rung in path.parent.glob("rungs/*.json")) != due
        return {
            "trials lost": TRIALS - trials.filter(pl.col("state").is_in(["complete", "pruned"])).height,
            "finished trials run again": self.again,
            "duplicate steps": twice,
            "trials with missing steps": missing,
            "trials with missing or too many rungs": unjudged,
            "trials that differ from one run alone": self._differing({"curves": curves, "traces": traces}),
            "torn states seen by readers": len(self.torn),
        }

    def _differing(self, tables: dict[str, pl.DataFrame]) -> int:
        """Train every trial again from its trial.json, in this process, and compare the rows that count."""
        alone = Path(tempfile.mkdtemp(prefix="alone-"))
        (alone / "reference").symlink_to(self.storage / "reference")
        differing = 0
        last = {name: rows["step"].max() for (name,), rows in tables["curves"].group_by("trial")}
        store = Store(alone / "chaos")
        store.create("study.toml", (self.records / "study.toml").read_bytes())
        for path in sorted(self.records.glob("trials/*/trial.json")):
            trial = path.parent.name
            store.create(f"trials/{trial}/trial.json", path.read_bytes())
            with threads(1):
                run_trial(Job(str(alone), "chaos", trial, 1, 1, device="cpu"))
            files = json.loads(store.read(f"trials/{trial}/outcome.json"))["files"]
            for table, rows in tables.items():
                (file,) = [name for name in files if name.startswith(f"{table}/")]
                ours = rows.filter(pl.col("trial") == trial)
                theirs = pl.read_parquet(alone / "chaos" / file, hive_partitioning=False)
                theirs = theirs.filter(pl.col("step") <= last[trial])
                differing += not ours.sort(ours.columns).equals(theirs.select(ours.columns).sort(ours.columns))
        return differing


def main() -> None:
    """Several seeds, one after another; the figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--figures", type=Path, default=Path("build/chaos.json"))
    options = parser.parse_args()
    total: Counter[str] = Counter()
    done: Counter[str] = Counter()
    kills = scans = 0
    for seed in range(options.seeds):
        storage = Path(tempfile.mkdtemp(prefix="chaos-"))
        make_water(storage)
        chaos = Chaos(storage, seed, options.kills)
        chaos.run()
        cost = chaos.figures()
        total.update(cost)
        if any(cost.values()):
            print(chaos.output, chaos.torn, sep="\n", flush=True)
        done.update(chaos.done)
        kills += chaos.killed
        scans += chaos.scans
        print(f"seed {seed}: {dict(chaos.done)}, {chaos.scans} scans, {cost}, {chaos.torn[:1]}", flush=True)
    least = options.seeds * options.kills
    rows = [
        *({"what": what, "value": n, "unit": "", "threshold": 0, "holds": n == 0} for what, n in total.items()),
        {
            "what": "kills",
            "value": kills,
            "unit": "",
            "threshold": least,
            "holds": kills >= least,
        },
        {"what": "scans by readers", "value": scans, "unit": "", "threshold": 1, "holds": scans > 0},
    ]
    options.figures.parent.mkdir(parents=True, exist_ok=True)
    options.figures.write_text(json.dumps(rows, indent=2) + "\n")
    print(f"{dict(done)}; figures in {options.figures}")
    sys.exit(not all(row["holds"] for row in rows))


if __name__ == "__main__":
    main()
