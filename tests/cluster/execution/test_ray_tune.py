"""The Ray Tune executor, where it differs from the one in this process: what it is told, and how it stops."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

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


def test_an_interrupt_says_how_to_go_on(storage, study_file):
    study_file.write_text(study_file.read_text().replace("epochs = 6", "epochs = 300"))
    command = [sys.executable, "-m", "tesseral.cluster.commands.cli", "run", str(study_file), "--storage", str(storage)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
        end = time.monotonic() + 120
        while not list(storage.glob("small/trials/*/attempts/*")):
            assert time.monotonic() < end
            time.sleep(0.1)
        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=120)
    assert driver.returncode == 130, errors
    assert errors.splitlines()[-1] == "tesseral: interrupted; the same command continues from here"
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
