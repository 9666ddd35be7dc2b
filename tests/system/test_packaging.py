"""What is shipped: the wheel holds every tracked module, and the README's commands are the Makefile's."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from functools import partial
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LINKS = ROOT / "infra" / "namespace" / "tesseral"


def tracked() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def copy(to: Path) -> Path:
    """The tree as a fresh checkout would have it."""
    for name in tracked():
        source, target = ROOT / name, to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif source.exists():
            shutil.copy2(source, target)
    return to


def shipped() -> list[str]:
    """What is tracked in the folders that the link tree joins to one package, and in the link tree itself."""
    rooms = {link.readlink().name for link in LINKS.iterdir() if link.is_symlink()}
    own = f"{LINKS.relative_to(ROOT)}/"
    names = [name for name in tracked() if (ROOT / name).is_file()]
    return [name for name in names if name.split("/")[0] in rooms] + [
        name.removeprefix(own) for name in names if name.startswith(own)
    ]


def test_the_wheel_holds_every_tracked_module(tmp_path):
    checkout = copy(tmp_path / "checkout")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(tmp_path),
        str(checkout),
    ]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"tesseral/{name}" for name in shipped()}
    assert {"study", "models", "analysis", "cluster"} <= {name.split("/")[1] for name in expected}
    assert expected <= names, sorted(expected - names)


def test_the_package_runs_as_the_command():
    run = partial(subprocess.run, capture_output=True, text=True, check=False)
    ran = run([sys.executable, "-m", "tesseral", "schema", "nonsense"])
    command = run(
        [sys.executable, "-c", "from tesseral.cluster.commands.cli import main; main()", "schema", "nonsense"]
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", command.stderr)
    assert "Usage: tesseral schema" in ran.stderr


def test_the_readme_begins_with_the_makefiles_commands():
    readme = (ROOT / "README.md").read_text()
    first = re.search(r"```\w*\n(.*?)```", readme, re.S)
    commands = re.findall(r"^make (\w+)", first[1], re.M)
    assert commands == ["quickstart", "test"]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(commands) <= set(targets)


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def test_the_hosted_workflow_runs_what_a_change_must_pass():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert ".ci/run" in [step.get("run") for step in job["steps"]]


def test_hooks_are_the_pinned_ruff():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["entry"].startswith(".venv/bin/ruff ")


def test_the_readme_shows_the_quickstarts_study_file():
    assert (ROOT / "study" / "examples" / "quickstart.toml").read_text() in (ROOT / "README.md").read_text()


@pytest.mark.long
def test_quickstart_in_a_fresh_copy(tmp_path):
    """`make quickstart SIZE=tiny`, with this test run's packages in place of new ones, but with the copy's code."""
    checkout = copy(tmp_path / "checkout")
    (checkout / ".venv").symlink_to(Path(sys.prefix))
    environment = os.environ | {"PYTHONPATH": str(checkout / "infra" / "namespace")}
    where = [sys.executable, "-c", "import tesseral.study; print(tesseral.study.__file__)"]
    printed = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True, env=environment)
    assert Path(printed.stdout.strip()).resolve().is_relative_to(checkout)
    make = ["make", "quickstart", "SIZE=tiny", "--old-file=.venv/installed"]
    run = {"cwd": checkout, "capture_output": True, "text": True, "env": environment, "timeout": 400}
    done = subprocess.run(make, check=False, **run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 of 6 trials complete" in done.stdout
    report = checkout / "runs" / "quickstart_tiny" / "report.html"
    assert report.stat().st_size > 10_000
    again = subprocess.run(make, check=True, **run)
    assert "Already made" in again.stdout
