"""Kills at random moments: nothing is lost, nothing counts twice, and no number changes.

Here without a search, where the set of trials must be that of an undisturbed run too. `make chaos` does the same with
search and confirm on a cluster of two nodes, for long.
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from tesseral.analysis.tables.open import open_study
from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.campaign.driver import run_study
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.planning.plan import prepare
from tesseral.study.configuration.trial import State
from tesseral.study.records.ledger import Ledger
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.processes import training

EPOCHS = 24


@pytest.fixture
def long_study(study_file) -> Path:
    text = study_file.read_text().replace("epochs = 6", f"epochs = {EPOCHS}").replace("[0, 1]", "[1, 2]")
    study_file.write_text(text.replace("mul = [4, 2]", "mul = [16, 8, 4]"))
    return study_file


def start(study_file: Path, storage: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "tesseral.cluster.commands.cli", "run", str(study_file), "--storage", str(storage)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def outcomes(study: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in study.glob("trials/*/outcome.json")}


def wait_while(driver: subprocess.Popen, condition, seconds: float = 240.0) -> None:
    """Until the condition ends, or the driver."""
    end = time.monotonic() + seconds
    while condition() and driver.poll() is None:
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def assert_whole(storage: Path, study: Study) -> None:
    tables = open_study(storage, "small")
    assert tables.trials.height == len(study.arms) * study.file.replication.blocks
    assert tables.trials["state"].unique().to_list() == [State.COMPLETE]
    for frame, keys in (
        (tables.curves.collect(), ["trial", "step", "split", "metric", "l"]),
        (tables.traces.collect(), ["trial", "step", "layer", "path", "l", "p", "statistic"]),
    ):
        assert frame.height > 0
        assert not frame.select(keys).is_duplicated().any()
    train = tables.curves.filter(pl.col("split") == "train", pl.col("metric") == "loss").collect()
    for (_,), rows in train.group_by("trial"):
        assert sorted(rows["epoch"].to_list()) == list(range(1, EPOCHS + 1))


def numbers(storage: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    tables = open_study(storage, "small")
    curves, traces = tables.curves.collect(), tables.traces.collect()
    return curves.sort(curves.columns), traces.sort(traces.columns)


@pytest.mark.long
def test_kills_of_workers_and_drivers(storage, long_study, tmp_path_factory):
    study = Study.load(long_study)
    monkey = random.Random(20261121)
    records = storage / "small"
    with start(long_study, storage) as driver:
        wait_while(driver, lambda: not training(records))
        time.sleep(monkey.uniform(0.0, 1.5))
        for pid in training(records)[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        before = outcomes(records)
        wait_while(driver, lambda: outcomes(records) == before)
        time.sleep(monkey.uniform(0.0, 1.5))
        driver.kill()
    finished = outcomes(records)
    assert before.items() <= finished.items(), "a finished trial never changes"
    begun = {trial: sorted(os.listdir(records / "trials" / trial / "attempts")) for trial in finished}
    last = start(long_study, storage)
    output, _ = last.communicate(timeout=300)
    assert last.returncode == 0, output.decode()
    assert finished.items() <= outcomes(records).items()
    for trial, attempts in begun.items():
        assert sorted(os.listdir(records / "trials" / trial / "attempts")) == attempts, "a finished trial ran again"
    assert_whole(storage, study)
    attempts = [entry.outcome["attempts"] for entry in Ledger(Store(records)).entries()]
    assert max(attempts) > 1, "no kill hit a trial in the middle"

    undisturbed = tmp_path_factory.mktemp("undisturbed")
    (undisturbed / "reference").symlink_to(storage / "reference")
    states = run_study(prepare(study, str(undisturbed)), InlineExecutor(), Silent()).states
    assert states == {State.COMPLETE: 6}
    for disturbed, quiet in zip(numbers(storage), numbers(undisturbed), strict=True):
        assert disturbed.equals(quiet), "numbers differ from those of an undisturbed run"
