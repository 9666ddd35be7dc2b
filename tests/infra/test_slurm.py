"""The Slurm scripts, without Slurm: `make slurm-test` runs them with a real one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "infra" / "slurm"
SCRIPTS = sorted(FOLDER.glob("*.sbatch"))
each = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def options(script: Path) -> dict[str, str]:
    """Options of sbatch that are set: name → value."""
    found = re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", script.read_text(), re.M)
    return dict(found)


def test_one_for_a_node_and_one_for_several():
    assert [script.stem for script in SCRIPTS] == ["nodes", "one_node"]


@each
def test_shellcheck_finds_nothing(script):
    program = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([program, "--shell=bash", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@each
def test_a_preempted_job_comes_back_and_the_driver_hears_of_the_time_limit(script):
    set_ = options(script)
    assert "requeue" in set_
    assert set_["signal"] == "B:TERM@120"  # to the batch script alone, 120 s before the limit
    assert set_["open-mode"] == "append"  # the log goes on


@each
def test_no_ray_but_the_jobs_own_is_joined_or_ended(script):
    code = "\n".join(line for line in script.read_text().splitlines() if not line.startswith("#"))
    assert not re.search(r"ray (stop|symmetric-run|start)|pkill|killall|=auto\b", code)


def test_the_driver_on_one_node_takes_the_place_of_the_script():
    """So that the signal reaches it."""
    lines = (FOLDER / "one_node.sbatch").read_text().splitlines()
    assert lines[-1] == 'exec tesseral run "$@"'
    assert "unset RAY_ADDRESS" in lines  # the shell that submitted may name a cluster
